"""Requests gathered into batches: what the conversations of a run ask in place of the endpoint."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from synalign_jax.llm.gate import Closed
from synalign_jax.llm.protocol import BatchLLM, ChatRequest, ChatResponse, Unfinished
from synalign_jax.llm.records import Ticket

from .course import Course, Line, Office, fail
from .limits import Batching
from .register import Register

_LONGEST_GATHERING = 30  # times `gather`, however many requests trickle in
_NAMED = 3  # batches that a note names


@dataclass(eq=False, slots=True)
class _Group:
    """Requests that will share a batch; gathered since `since`, in the loop's time."""

    since: float
    lines: list[Line] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class Batches:
    """Gathers requests, and waits for the batches that they are in.

    A request is put on record as part of a batch before anything is sent, and stays so until its result is
    on record: whatever ends the run, the next one waits for the same batch.

    Args:
        patience: seconds that the endpoint is given while it fails to take or to show a batch.
        stop: ends the run with an error; it calls `release`.
    """

    def __init__(
        self,
        llm: BatchLLM,
        register: Register,
        batching: Batching,
        *,
        patience: float,
        stop: Callable[[BaseException], None],
    ) -> None:
        self._llm, self._register, self._batching = llm, register, batching
        self._office = Office(llm, register, batching, patience, stop, self._anew)
        self._most, self._most_bytes = batching.most_requests, batching.most_bytes
        self._groups: dict[tuple[str, str], _Group] = {}
        self._courses: dict[int, Course] = {}  # by the batch's number
        self._tasks: dict[asyncio.Task[None], Course | None] = {}

    async def ask(self, key: str, request: ChatRequest, ticket: Ticket) -> ChatResponse:
        """The answer to a request, from the batch that it is in or a new one; raises as `complete` does.

        Raises:
            Closed: the run is stopping; the request stays in its batch.
        """
        line = Line(key, request, ticket, asyncio.get_running_loop().create_future())
        record = await self._register.batch_of(ticket) if ticket.batched else None
        if record is None:
            self._gather(line)
        else:  # a run before this one sent it
            if record.number not in self._courses:
                self._start(Course(self._office, record), None)
            await self._courses[record.number].join(line)
        try:
            return await line.answer
        except asyncio.CancelledError:
            for course in self._courses.values():
                if course.waiting.get(key) is line:
                    del course.waiting[key]
            for group in self._groups.values():
                group.lines = [other for other in group.lines if other is not line]
            raise

    def let_go(self, ticket: Ticket) -> Awaitable[None]:
        """Nobody waits for the request any more: it stays in its batch, or is open again."""
        return self._register.let_go(ticket)

    def release(self) -> None:
        """The run is stopping: who waits for a batch is told, and what is in no batch yet is not sent."""
        for group in self._groups.values():
            if group.timer:
                group.timer.cancel()
            fail(group.lines, Unfinished("the run is stopping"))
        self._groups.clear()
        for course in self._courses.values():
            course.leave(Closed())

    def note(self) -> str:
        """What is waited for, in words."""
        waited = [course for task, course in self._tasks.items() if course and not task.done()]
        if not waited:
            return "gathering requests for a batch" if self._groups else ""
        records = [course.record for course in waited]
        total, done = sum(r.total for r in records), sum(r.done + r.failed for r in records)
        names = ", ".join(f"{r.remote or 'in the making'} {r.word or ''}".strip() for r in records[:_NAMED])
        more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
        left = max(0.0, min(course.next_look for course in waited) - time.monotonic())
        what = "a batch" if len(records) == 1 else f"{len(records)} batches"
        return f"waiting for {what} ({names}{more}): {done} of {total} done; next look in {left:.0f} s"

    async def aclose(self) -> None:
        """Stop waiting; the batches go on at the endpoint."""
        self.release()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- gathering -----------------------------------------------------------------------------------------

    def _gather(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        kind = (line.request.model, self._llm.route(line.request))
        group = self._groups.setdefault(kind, _Group(loop.time()))
        group.lines.append(line)
        if group.timer:
            group.timer.cancel()
        gather = self._batching.gather
        at = min(loop.time() + gather, group.since + _LONGEST_GATHERING * gather)
        full = len(group.lines) >= self._batching.most_requests
        group.timer = loop.call_at(loop.time() if full else at, self._send, kind)

    def _send(self, kind: tuple[str, str]) -> None:
        group = self._groups.pop(kind, None)
        if group and group.lines:
            self._spawn(self._submit(group.lines))

    async def _anew(self, lines: list[Line], most: int | None, most_bytes: int | None) -> None:
        """Put them into batches of at most this size, and those after them too."""
        self._most = max(1, min(self._most, most or self._most))
        self._most_bytes = max(1, min(self._most_bytes, most_bytes or self._most_bytes))
        if lines:
            await self._submit(lines)

    async def _submit(self, lines: list[Line]) -> None:
        """Put them on record as batches of bearable size, and send these."""
        part: list[Line] = []
        data: list[bytes] = []
        size, lessons = 0, self._llm.lessons(lines[0].request.model)
        try:
            for line in lines:
                one = self._llm.batch_line(line.key, line.request, lessons)
                if part and (len(part) >= self._most or size + len(one) > self._most_bytes):
                    await self._enroll(part, data, lessons)
                    part, data, size = [], [], 0
                part.append(line)
                data.append(one)
                size += len(one)
            await self._enroll(part, data, lessons)
        except Exception as error:  # of the ledger: whoever waits must hear of it
            fail(lines, error)

    async def _enroll(self, lines: list[Line], data: list[bytes], lessons: dict[str, Any]) -> None:
        tickets = [line.ticket for line in lines]
        mark = secrets.token_hex(12)
        record = await self._register.enroll(self._llm.endpoint, mark, lessons, tickets)
        self._start(Course(self._office, record, lines), data)

    def _start(self, course: Course, data: list[bytes] | None) -> None:
        self._courses[course.record.number] = course

        def crowd() -> list[asyncio.Task[None]]:
            return [task for task, other in self._tasks.items() if other is not course and _works(other)]

        self._spawn(course.follow(data, crowd), course)

    def _spawn(self, work: Coroutine[Any, Any, None], course: Course | None = None) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[task] = course
        task.add_done_callback(lambda task: self._tasks.pop(task, None))


def _works(course: Course | None) -> bool:
    return course is not None and course.at_endpoint
