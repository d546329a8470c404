"""Putting a stage's requests to the LLM: answers in the order of the requests, and live figures meanwhile."""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from synalign_jax.llm.batches.limits import DISCOUNT, Batching
from synalign_jax.llm.budget import Budget, Price
from synalign_jax.llm.driver import Job, Limits, Outcome, Progress, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import LLM, BudgetReached, ChatRequest
from synalign_jax.pipeline.config import Config, Llm
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.tools import Tools

from .background import Background, Tell
from .endpoints import Endpoint, Shared, shares_of
from .turns import Player, Turns

BATCHING = Batching()


class NoAnswersError(RuntimeError):
    """Of all requests, or of all for a label, none got an answer that could be used."""

    def __init__(
        self,
        what: str,
        label: str,
        outcomes: Iterable[Outcome | None],
        folder: Path,
        dropped: Mapping[str, int] | None = None,
        reached: BudgetReached | None = None,
    ) -> None:
        errors = (outcome.error for outcome in outcomes if outcome is not None)
        last = next((error for error in errors if error is not None), None)
        super().__init__(
            f"the LLM gave no usable {what}"
            + (f" for the label '{label}'" if label else "")
            + (f"; the first failure was: {last}" if last is not None else "")
            + (f"; {reached}" if reached is not None else "")
            + "".join(f"\n  dropped: {count} ({reason})" for reason, count in sorted((dropped or {}).items()))
            + (f"\nThe rows, each with its reason, are in {folder / 'rejected.parquet'}" if dropped else "")
            + ("" if dropped and last is None else _how_to_look(folder))
        )


def _how_to_look(folder: Path) -> str:
    command = f"synalign ledger {shlex.quote(str(folder))}"
    return f"\nWhat was given up, and the endpoint's last words: {command} --failures (--retry asks again)"


class Asker:
    """Asks batches of requests over open endpoints and one ledger. Make one with `open_asker`."""

    def __init__(
        self,
        loop: Background,
        endpoints: Sequence[Endpoint],
        ledger: Ledger,
        config: Config,
        tools: Tools,
    ) -> None:
        self._loop, self._endpoints, self._ledger = loop, endpoints, ledger
        self._config, self._tools = config, tools
        self._turns: Turns | None = None

    def ask(self, title: str, requests: Sequence[ChatRequest]) -> list[Outcome]:
        """One outcome a request, in the order of `requests`, whatever the order of the answers.

        A request that the ledger already holds an answer for is not sent. Several endpoints take the requests
        in turns by their shares, the same turns whenever the same requests come.

        Raises:
            LLMError: the endpoint refuses every request (key, model, address), or a cap is reached.
        """
        outcomes, reached = self.ask_within(title, requests)
        if reached is not None:
            raise reached
        return [outcome for outcome in outcomes if outcome is not None]

    def ask_within(
        self, title: str, requests: Sequence[ChatRequest]
    ) -> tuple[list[Outcome | None], BudgetReached | None]:
        """`ask` as far as the budget goes: None for what it did not reach, and what ended it.

        Raises:
            LLMError: the endpoint refuses every request.
        """
        with self._tools.reporter.bar(title, len(requests), "answers") as bar:

            def show(progress: Progress) -> None:
                bar.note(_figures(progress))
                bar.reach(progress.done)

            return self._loop.run(lambda tell: self._ask(requests, tell), show)

    def take_turns(self, title: str, player: Player) -> BudgetReached | None:
        """Let a player decide what is asked, wave by wave, until it asks for nothing more (`Turns.play`).

        Returns:
            what ended it, if that was the budget: all that was answered until then has been accepted.

        Raises:
            LLMError: the endpoint refuses every request or has stopped answering.
        """
        with self._tools.reporter.bar(title, None, "answers") as bar:

            def show(progress: Progress) -> None:
                bar.note(_figures(progress))
                bar.reach(progress.done, self._turns.total if self._turns else None)

            async def play(tell: Tell) -> BudgetReached | None:
                self._turns = Turns(player)
                try:
                    return await self._turns.play(lambda jobs: self._stream(jobs, tell))
                finally:
                    # A player asks through this asker: left in that circle, all that it holds would stay
                    # in memory long after it is done.
                    self._turns = None

            return self._loop.run(play, show)

    def ask_between(self, requests: Sequence[ChatRequest]) -> list[Outcome | None]:
        """Requests of a player while it takes its turns, under the same limits; None where the budget
        ended."""
        assert self._turns is not None
        return self._turns.ask(requests)

    async def _ask(
        self, requests: Sequence[ChatRequest], tell: Tell
    ) -> tuple[list[Outcome | None], BudgetReached | None]:
        outcomes: list[Outcome | None] = [None] * len(requests)
        try:
            jobs = [Job(request, tag=number) for number, request in enumerate(requests)]
            async for outcome in self._stream(jobs, tell):
                outcomes[outcome.job.tag] = outcome
        except BudgetReached as error:
            return outcomes, error
        return outcomes, None

    async def _stream(self, jobs: Iterable[Job] | AsyncIterable[Job], tell: Tell) -> AsyncGenerator[Outcome]:
        """The outcomes of all endpoints as they come."""
        if len(self._endpoints) == 1:
            async for outcome in self._of_one(self._endpoints[0], self._put(jobs), tell):
                yield outcome
            return
        shared = Shared(self._endpoints)
        async for outcome in shared.stream(self._put(jobs), self._of_one, tell):
            yield outcome

    async def _put(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> AsyncGenerator[Job]:
        if isinstance(jobs, AsyncIterable):
            async for job in jobs:
                yield job
        else:
            for job in jobs:
                yield job

    async def _of_one(
        self, endpoint: Endpoint, jobs: AsyncIterable[Job], tell: Tell
    ) -> AsyncGenerator[Outcome]:
        async def put() -> AsyncGenerator[Job]:
            async for job in jobs:
                yield Job(endpoint.put(job.request, self._config.llm), job.tag)

        answers = stream(
            endpoint.llm,
            put(),
            ledger=self._ledger,
            limits=limits(endpoint.settings),
            budget=budget(self._config.llm, endpoint.settings),
            batching=BATCHING if endpoint.settings.batch else None,
            on_progress=tell,
        )
        async for outcome in answers:
            yield endpoint.named(outcome)


@contextlib.contextmanager
def open_asker(
    view: StageView, config: Config, tools: Tools, chosen: str | Mapping[str, float] | None = None
) -> Iterator[Asker]:
    """Endpoints and ledger stay open for the block: a stage asks many batches over one connection.

    Args:
        chosen: the name of an endpoint, or names with their shares; None is [llm].
    """
    with Background() as loop, Ledger(view.ledger_path) as ledger:
        stack = contextlib.AsyncExitStack()
        try:
            endpoints = [
                Endpoint(_opened(loop, stack, tools.open_llm(settings)), settings, share)
                for name, share in shares_of(chosen).items()
                for settings in [config.llm if name == "llm" else config.llms[name]]
            ]
            with _noted(view, tools):
                yield Asker(loop, endpoints, ledger, config, tools)
        finally:
            loop.run(lambda _: stack.aclose())


def _opened(
    loop: Background, stack: contextlib.AsyncExitStack, opening: contextlib.AbstractAsyncContextManager[LLM]
) -> LLM:
    return loop.run(lambda _: stack.enter_async_context(opening))


@contextlib.contextmanager
def _noted(view: StageView, tools: Tools) -> Iterator[None]:
    """What the library warns of in the block, such as an option left out, is noted by the stage."""
    heard: list[str] = []

    def note(message: Warning | str, *_: object) -> None:
        heard.append(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = note
        try:
            yield
        except BaseException:  # the stage will have no record that could show them
            for text in heard:
                tools.reporter.say(f"{'':<16} note: {text}")
            raise
    for text in heard:
        view.warn(text)


_ATTEMPT_S, _TOTAL_S = 180.0, 900.0
_HERE = 10.0  # times as much for a model on this machine: asked again it would begin anew


def limits(llm: Llm) -> Limits:
    times = _HERE if llm.kind in ("llamacpp", "huggingface") else 1.0
    attempt, total = llm.attempt_timeout, llm.total_timeout
    return Limits(
        concurrency=llm.concurrency,
        requests_per_minute=llm.requests_per_minute,
        tokens_per_minute=llm.tokens_per_minute,
        attempt_timeout=times * _ATTEMPT_S if attempt == "auto" else attempt,
        total_timeout=times * _TOTAL_S if total == "auto" else total,
        max_attempts=llm.max_attempts,
        reasoning_tokens=None if llm.reasoning_tokens == "auto" else llm.reasoning_tokens,
    )


def budget(llm: Llm, asked: Llm | None = None) -> Budget:
    """The caps of [llm], which hold for a run as a whole, at the prices of the endpoint that is asked.

    In batches these are half of those that are stated.
    """
    asked = asked or llm
    prices, share = asked.prices, DISCOUNT if asked.batch else 1.0
    return Budget(
        max_requests=llm.max_requests,
        max_tokens=llm.max_tokens_total,
        max_cost=llm.max_cost,
        price=Price(share * prices.prompt, share * prices.completion) if prices else None,
    )


def prices_of(config: Config) -> dict[str, Price]:
    """The prices of the models that write rows, as far as they are given."""
    chosen = [config.llm if n == "llm" else config.llms[n] for n in shares_of(config.generate.llm)]
    budgets = {llm.model: budget(config.llm, llm) for llm in chosen}
    return {model: own.price for model, own in budgets.items() if own.price}


def _figures(progress: Progress) -> str:
    parts = [f"{progress.completion_tokens:,} tokens", f"{progress.in_flight} in flight"]
    if progress.cached:
        parts.append(f"{progress.cached} from the ledger")
    parts += [f"{count} {kind}" for kind, count in sorted(progress.retries.items())]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.spent is not None:
        parts.append(f"spent {progress.spent:.4g}")
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)
