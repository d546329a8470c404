"""Streams jobs to an endpoint at the speed it can take, and loses none: retries, limits, records."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sized
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .answers.usable import read_json
from .batches.batches import Batches
from .batches.limits import Batching
from .batches.register import Register
from .budget import Budget
from .conversation import Conversation
from .desk import Deadlines, Desk
from .gate import Closed, Gate
from .lessons import Lessons
from .limits import Limits
from .progress import Progress, Tally
from .protocol import (
    LLM,
    BadAnswer,
    BatchLLM,
    BudgetReached,
    ChatRequest,
    ChatResponse,
    LLMError,
    Misconfigured,
)
from .records import Entries, Known, request_body, request_key

_DEFAULTS = Limits()
_TICK = 0.5  # seconds between two calls of on_progress
_NEVER = 1e8  # seconds
_AT_ONCE = 0.01  # seconds
_SOUGHT = 50_000  # objects more than before at which cycles are sought


@dataclass(frozen=True, slots=True)
class Job:
    """One request; `tag` comes back untouched with its outcome."""

    request: ChatRequest
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: exactly one of `response` and `error` is set.

    `value` is the JSON of the answer, checked against the request's schema, if it has one; with n > 1 a list
    with one entry for each choice, None where a choice was unusable.
    `cached` says that the ledger knew the end before the job was asked; `attempts` were made just now.
    """

    job: Job
    response: ChatResponse | None
    value: Any | None
    error: LLMError | None
    cached: bool
    attempts: int


async def stream(
    llm: LLM,
    jobs: Iterable[Job] | AsyncIterable[Job],
    *,
    ledger: Entries,
    limits: Limits = _DEFAULTS,
    budget: Budget | None = None,
    batching: Batching | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[Outcome]:
    """Ask every job and yield its outcome, in the order they end; memory does not grow with their number.

    With `batching` requests are gathered into batches of a BatchLLM. Then `limits` hold for the calls that
    make and show these, and as many requests are alive as a batch may hold.

    An answer is on record before it is yielded. A request whose end the ledger knows is not sent; one that
    another job or another run has in flight is waited for.

    Raises:
        Misconfigured: wrong key, unknown model, an endpoint that never answered.
        BudgetReached: the next request could pass a cap.
        LLMError: an endpoint that stopped answering, or asks for a longer wait than `total_timeout`.
        LedgerError: the ledger cannot be written.
        Each after the requests in flight have ended, been recorded and been yielded.
    """
    run = _Run(llm, jobs, ledger, limits, budget or Budget(), batching, on_progress)
    with _cycles_sought_rarely():
        async with aclosing(run.outcomes()) as outcomes:
            async for outcome in outcomes:
                yield outcome


_before: list[tuple[int, int, int]] = []  # gc's thresholds; one a stream that is under way


@contextmanager
def _cycles_sought_rarely() -> Iterator[None]:
    """Python looks for cycles among objects whenever hundreds more are alive than before. With hundreds of
    requests under way that is all the time, for a third of what a request costs, and there are none."""
    usual = _before[0] if _before else gc.get_threshold()
    ours = max(usual[0], _SOUGHT), usual[1], usual[2]
    if not _before and usual[0]:  # 0: switched off
        gc.set_threshold(*ours)
    _before.append(usual)
    try:
        yield
    finally:
        _before.pop()
        if not _before and gc.get_threshold() == ours:
            gc.set_threshold(*usual)


class _Run:
    def __init__(
        self,
        llm: LLM,
        jobs: Iterable[Job] | AsyncIterable[Job],
        ledger: Entries,
        limits: Limits,
        budget: Budget,
        batching: Batching | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        batches = batching and _batches(llm, ledger, limits, batching, self._stop)
        if batching:
            limits = _while_batched(limits, batching)
        self._llm, self._jobs, self._ledger = llm, jobs, ledger
        self._limits, self._budget, self._on_progress = limits, budget, on_progress
        self._gate = Gate(
            concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            first_wait=limits.first_wait,
            longest_wait=limits.longest_wait,
            patience=limits.total_timeout,
            all_at_once=batches is not None,
        )
        self._tally = Tally(len(jobs) if isinstance(jobs, Sized) else None)
        lessons = Lessons(llm, ledger, limits.reasoning_tokens)
        self._deadlines = Deadlines(limits.attempt_timeout)
        self._desk = Desk(
            llm, ledger, limits, self._budget, self._gate, self._tally, lessons, self._deadlines, batches
        )
        self._ended: asyncio.Queue[Outcome | None] = asyncio.Queue()
        # So many jobs are alive at once, in flight, waiting or unread: it bounds the memory.
        self._room = asyncio.Semaphore(2 * limits.concurrency + 64)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, asyncio.Future[Known | None]] = {}  # keys that a job of this run is busy with
        self._fatal: BaseException | None = None
        self._fed = self._cut_short = False
        self._resumes = ledger.holds_ends()  # else the ledger's look before each request to send suffices

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        helpers = [asyncio.ensure_future(self._feed())]
        if self._on_progress:
            helpers.append(asyncio.ensure_future(self._tick()))
        try:
            while (outcome := await self._ended.get()) is not None:
                self._count(outcome)
                yield outcome
                self._room.release()
            self._report()
            if self._fatal:
                raise self._fatal
            if self._gate.endless and self._cut_short:
                raise self._gate.endless
        finally:
            self._gate.close()
            unfinished = [*helpers, *self._tasks]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            self._deadlines.close()
            if self._desk.batches:
                await self._desk.batches.aclose()

    async def _feed(self) -> None:
        try:
            if isinstance(self._jobs, AsyncIterable):
                async for job in self._jobs:
                    await self._start(job)
            else:
                for job in self._jobs:
                    await self._start(job)
        except Closed:
            self._cut_short = True
        except Exception as error:
            self._stop(error)
        self._fed = True
        self._finish_if_done()

    async def _start(self, job: Job) -> None:
        await self._room.acquire()
        if self._gate.closed:
            raise Closed
        task = asyncio.create_task(self._work(job))
        self._tasks.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._stop(error)
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if not self._tasks and (self._fed or self._gate.closed):
            self._ended.put_nowait(None)

    def _stop(self, error: BaseException) -> None:
        """Send nothing more; `outcomes` raises the first such error once all that is in flight has ended."""
        self._fatal = self._fatal or error
        self._gate.close()
        if self._desk.batches and not isinstance(error, BudgetReached):  # that waits for what is paid for
            self._desk.batches.release()

    # -- one job -------------------------------------------------------------------------------------------

    async def _work(self, job: Job) -> None:
        try:
            outcome = await self._settle(job)
        except Closed:
            self._cut_short = True
            return
        self._ended.put_nowait(outcome)

    async def _settle(self, job: Job) -> Outcome:
        """The job's outcome: from a twin that is being asked, from the ledger, or from the endpoint."""
        body = request_body(self._llm.endpoint, job.request)
        key = request_key(body)
        while (twin := self._asked.get(key)) is not None:
            if known := await asyncio.shield(twin):
                return _recalled(job, known)
        self._asked[key] = mine = asyncio.get_running_loop().create_future()
        known = None
        try:
            if self._resumes and (known := await self._ledger.lookup(key)):
                return _recalled(job, known)
            conversation = Conversation(self._desk, job.request, key, body)
            known = await conversation.hold()
            if not conversation.attempts:  # another run was quicker
                return _recalled(job, known)
            return Outcome(job, known.response, conversation.value, known.error, False, conversation.attempts)
        finally:
            del self._asked[key]
            mine.set_result(known)

    # -- what the user sees --------------------------------------------------------------------------------

    def _count(self, outcome: Outcome) -> None:
        self._tally.done += 1
        self._tally.cached += outcome.cached
        self._tally.failed += outcome.error is not None

    async def _tick(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_TICK)

    def _report(self) -> None:
        if self._on_progress:
            self._on_progress(
                self._tally.snapshot(
                    in_flight=self._gate.in_flight,
                    waiting=len(self._tasks) - self._gate.in_flight,
                    priced=self._budget.price is not None,
                    cap=self._budget.max_cost,
                    note=self._gate.note() or (self._desk.batches.note() if self._desk.batches else ""),
                )
            )


def _batches(
    llm: LLM, ledger: Entries, limits: Limits, batching: Batching, stop: Callable[[BaseException], None]
) -> Batches:
    if not isinstance(llm, BatchLLM):
        raise Misconfigured(f"{llm.endpoint} takes no batches; set batch = false")
    return Batches(llm, Register(ledger), batching, patience=limits.total_timeout, stop=stop)


def _while_batched(limits: Limits, batching: Batching) -> Limits:
    """The limits of a request that is in a batch: it may take days, and it is the batch that has a rate."""
    return replace(
        limits,
        concurrency=batching.most_requests,
        requests_per_minute=None,
        tokens_per_minute=None,
        attempt_timeout=_NEVER,
        total_timeout=_NEVER,
        first_wait=_AT_ONCE,
        longest_wait=_AT_ONCE,
    )


def _recalled(job: Job, known: Known) -> Outcome:
    value, error = None, known.error
    if known.response and job.request.schema is not None:
        try:
            value = read_json(job.request, known.response)
        except BadAnswer as unusable:
            error = unusable
    return Outcome(job, None if error else known.response, value, error, True, 0)
