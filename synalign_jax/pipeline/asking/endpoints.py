"""Endpoints that share a stage's requests, each its stated part."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from synalign_jax.llm.driver import Job, Outcome, Progress
from synalign_jax.llm.protocol import LLM, ChatRequest
from synalign_jax.pipeline.config import Llm, model_name

from .background import Tell


@dataclass
class Endpoint:
    """One of the endpoints; `asked` so far."""

    llm: LLM
    settings: Llm
    share: float
    asked: int = 0

    def put(self, request: ChatRequest, usual: Llm) -> ChatRequest:
        """The request as this endpoint gets it."""
        return put(request, self.settings, usual)

    def named(self, outcome: Outcome) -> Outcome:
        """What the lineage calls the model: the endpoint's own word, but never a path on this machine."""
        if outcome.response is None or self.settings.kind == "openai":
            return outcome
        return replace(outcome, response=replace(outcome.response, model=model_name(self.settings)))


def put(request: ChatRequest, own: Llm, usual: Llm) -> ChatRequest:
    """The request as an endpoint gets it: its `own` settings where the request has the `usual` ones."""
    return replace(
        request,
        model=own.model,
        temperature=own.temperature if request.temperature == usual.temperature else request.temperature,
        top_p=own.top_p if request.top_p == usual.top_p else request.top_p,
        extra={**own.extra, **request.extra},
    )


def shares_of(chosen: str | Mapping[str, float] | None) -> dict[str, float]:
    """Names of endpoints with their shares, which sum to 1; None is [llm]."""
    shares = dict(chosen) if isinstance(chosen, Mapping) else {chosen or "llm": 1.0}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def next_of(shares: Sequence[float], asked: Sequence[int]) -> int:
    """The place of the endpoint that is furthest below its share."""
    total = 1 + sum(asked)
    behind = [share * total - count for share, count in zip(shares, asked, strict=True)]
    return behind.index(max(behind))


One = Callable[[Endpoint, AsyncIterable[Job], Tell], AsyncIterator[Outcome]]


class Shared:
    """Jobs go to the endpoint furthest below its share: the same turns whenever the same jobs come."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._queues: list[asyncio.Queue[Job | None]] = [asyncio.Queue() for _ in endpoints]
        self._ended: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._seen: dict[int, Progress] = {}
        self._error: BaseException | None = None

    async def stream(self, jobs: AsyncIterable[Job], one: One, tell: Tell) -> AsyncGenerator[Outcome]:
        """Outcomes as they come; what one endpoint has in flight is not lost for the other's error."""
        tasks = [asyncio.ensure_future(self._deal(jobs))]
        tasks += [
            asyncio.ensure_future(self._work(place, one, tell)) for place in range(len(self._endpoints))
        ]
        left = len(tasks) - 1
        try:
            while left:
                outcome = await self._ended.get()
                if outcome is None:
                    left -= 1
                else:
                    yield outcome
            if self._error:
                raise self._error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _deal(self, jobs: AsyncIterable[Job]) -> None:
        async for job in jobs:
            if self._error:
                break
            self._queues[self._turn()].put_nowait(job)
        self._stop()

    async def _work(self, place: int, one: One, tell: Tell) -> None:
        try:
            show = functools.partial(self._show, place, tell)
            async for outcome in one(self._endpoints[place], self._jobs(place), show):
                self._ended.put_nowait(outcome)
        except Exception as error:
            self._error = self._error or error
            self._stop()
        finally:
            self._ended.put_nowait(None)

    def _stop(self) -> None:
        for queue in self._queues:
            queue.put_nowait(None)

    async def _jobs(self, place: int) -> AsyncGenerator[Job]:
        while not self._error and (job := await self._queues[place].get()) is not None:
            yield job

    def _show(self, place: int, tell: Tell, progress: Progress) -> None:
        self._seen[place] = progress
        tell(together(list(self._seen.values())))

    def _turn(self) -> int:
        place = next_of([e.share for e in self._endpoints], [e.asked for e in self._endpoints])
        self._endpoints[place].asked += 1
        return place


def together(parts: Sequence[Progress]) -> Progress:
    """What several endpoints have done, as one."""
    if len(parts) == 1:
        return parts[0]
    retries: Counter[str] = Counter()
    for part in parts:
        retries.update(part.retries)
    spent = [part.spent for part in parts if part.spent is not None]
    return replace(
        parts[0],
        done=sum(part.done for part in parts),
        total=None,
        in_flight=sum(part.in_flight for part in parts),
        waiting=sum(part.waiting for part in parts),
        retries=dict(retries),
        failed=sum(part.failed for part in parts),
        cached=sum(part.cached for part in parts),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        spent=sum(spent) if spent else None,
        seconds=max(part.seconds for part in parts),
        note="; ".join(dict.fromkeys(part.note for part in parts if part.note)),
    )
