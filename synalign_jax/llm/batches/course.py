"""One batch, from its file to the last of its results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from synalign_jax.llm.gate import Closed
from synalign_jax.llm.protocol import (
    BatchLLM,
    BatchResult,
    BatchStatus,
    ChatRequest,
    ChatResponse,
    LLMError,
    RateLimited,
    Refused,
    ServerError,
    Unfinished,
    Unsupported,
    error_of,
)
from synalign_jax.llm.records import Ticket

from .limits import Batching
from .register import Batch, Register

T = TypeVar("T")
_SLOWER = 1.3  # from one look to the next
_LONGEST_WAIT = 60.0  # seconds between two tries of a call that fails


@dataclass(eq=False, slots=True)
class Line:
    """One request, and who waits for its answer."""

    key: str
    request: ChatRequest
    ticket: Ticket
    answer: asyncio.Future[ChatResponse]


def fail(lines: Iterable[Line], error: BaseException) -> None:
    """Tell them that there is no answer."""
    for line in list(lines):
        if not line.answer.done():
            line.answer.set_exception(error)


@dataclass(frozen=True)
class Office:
    """What every batch of a run works with.

    Attributes:
        patience: seconds that the endpoint is given while it fails to take or to show a batch.
        stop: ends the run with an error; what is in batches stays there.
        anew: puts requests into other batches: so many at most in one, of so many bytes (None: as before).
    """

    llm: BatchLLM
    register: Register
    batching: Batching
    patience: float
    stop: Callable[[BaseException], None]
    anew: Callable[[list[Line], int | None, int | None], Awaitable[None]]

    async def patiently(self, call: Callable[[], Awaitable[T]], *but: type[LLMError]) -> T:
        """The call, repeated while that may help; errors of the kinds `but` are raised at once.

        Raises:
            LLMError: it cannot succeed, or has not for so long that the run must end.
        """
        began, wait = time.monotonic(), self.batching.first_look
        while True:
            try:
                return await call()
            except LLMError as error:
                if not error.retry or isinstance(error, (Unfinished, *but)):
                    raise
                asked = max(error.retry_after or 0.0, wait)
                if time.monotonic() - began + asked > self.patience:
                    raise ending(
                        f"{error}; the endpoint's batches cannot be reached, for longer than total_timeout ="
                        f" {self.patience:g} s; start the run again later, nothing that was sent is lost"
                    ) from None
                await asyncio.sleep(asked)
                wait = min(2 * wait, _LONGEST_WAIT)


class Course:
    """A batch that this run waits for; `waiting` are its requests without an answer, by key."""

    def __init__(self, office: Office, record: Batch, lines: Iterable[Line] = ()) -> None:
        self._office, self.record = office, record
        self.waiting = {line.key: line for line in lines}
        self.at_endpoint = False  # between its making and its end
        self.next_look = 0.0
        self._spare: dict[str, BatchResult] = {}  # results that nobody has waited for yet
        self._taken: set[str] = set()
        self._unasked = False  # whether it says of some request that its turn never came
        self._over: BaseException | None = None  # what they get that it holds no result for

    async def join(self, line: Line) -> None:
        """Wait for one more of its results."""
        self.waiting[line.key] = line
        if result := self._spare.pop(line.key, None):
            await self._answer(result)
        elif self._over is not None:
            del self.waiting[line.key]
            fail([line], self._over)

    def leave(self, error: BaseException) -> None:
        """Nobody waits for it any more; who did is told why."""
        self._over = error
        fail(self.waiting.values(), error)
        self.waiting.clear()

    async def follow(self, data: Sequence[bytes] | None, crowd: Callable[[], list[asyncio.Task]]) -> None:
        """To the end.

        Args:
            data: the lines of its file; None for a batch that a run before this one began.
            crowd: the other batches that the endpoint works on.
        """
        try:
            if data is None:
                await self._find_again()
            elif not await self._make(data, crowd):
                return
            self.at_endpoint = True
            status = await self._status_at_end(at_once=data is None)
            self.at_endpoint = False
            await self._hand_out(status, crowd)
        except (LLMError, Closed) as error:
            self.leave(error)
        except Exception as error:  # of the ledger
            self._office.stop(error)
            self.leave(Closed())
        finally:
            self.at_endpoint = False

    # -- making it -----------------------------------------------------------------------------------------

    async def _make(self, data: Sequence[bytes], crowd: Callable[[], list[asyncio.Task]]) -> bool:
        """Whether it is made; else its requests are in other batches."""
        office, llm, mark = self._office, self._office.llm, self.record.mark
        try:
            file = await office.patiently(lambda: llm.put_file(f"synalign-{mark}.jsonl", data))
        except Refused as error:
            if error.why != "too_long" or len(data) < 2:
                raise
            await self._anew(error, None, sum(map(len, data)) // 2)
            return False
        self.record = await office.register.name(self.record, file=file)
        route = llm.route(next(iter(self.waiting.values())).request) if self.waiting else ""

        async def make() -> str:
            """Never twice: where it is not known whether it was made, it is looked for first."""
            try:
                return await llm.make_batch(file, route, mark)
            except LLMError as error:
                if not error.retry:
                    raise
                found = await self._found()
                if found is None:
                    raise
                return found

        try:
            remote = await self._or_stop(make, RateLimited)
        except RateLimited as error:
            await self._wait_for_room(error, crowd)
            return False
        self.record = await office.register.name(self.record, remote=remote)
        return True

    async def _find_again(self) -> None:
        """A run ended after it had put this batch on record, and perhaps before it was made.

        Raises:
            Unfinished: it was never made.
        """
        office = self._office
        if self.record.remote is not None:
            return
        if self.record.file is not None:  # else there was nothing that it could have been made of
            remote = await self._or_stop(self._found)
            if remote is None:  # lists may lag behind
                await asyncio.sleep(office.batching.first_look)
                remote = await self._or_stop(self._found)
            if remote is not None:
                self.record = await office.register.name(self.record, remote=remote)
                return
        raise Unfinished("the run ended before the batch was made")

    async def _found(self) -> str | None:
        record = self.record
        try:
            return await self._office.llm.find_batch(record.file or "", record.mark, record.started)
        except Unsupported as error:
            raise Unfinished(
                f"a batch may have been made that cannot be found again: {error}", paid=True
            ) from None

    async def _or_stop(self, call: Callable[[], Awaitable[T]], *but: type[LLMError]) -> T:
        """The call; where it cannot be had the run stops, and the requests stay in the batch.

        A definite refusal is raised: then there is no batch.
        """
        try:
            return await self._office.patiently(call, *but)
        except LLMError as error:
            if isinstance(error, (Unfinished, Refused, *but)) or (error.fatal and error.raw is not None):
                raise
            self._office.stop(error)
            raise Closed from None

    # -- waiting for it ------------------------------------------------------------------------------------

    async def _status_at_end(self, *, at_once: bool) -> BatchStatus:
        office, look = self._office, 0.0 if at_once else self._office.batching.first_look
        while True:
            self.next_look = time.monotonic() + look
            await asyncio.sleep(look)
            look = min(max(_SLOWER * look, office.batching.first_look), office.batching.longest_look)
            status = await self._must(lambda: office.llm.look(self.record.remote or ""))
            counts = (status.word, status.total or self.record.total, status.done, status.failed)
            record = self.record
            if counts != (record.word, record.total, record.done, record.failed):
                self.record = await office.register.progress(record, *counts)
            if status.state != "waiting":
                return status

    async def _must(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call; where it fails for good the run stops, and the requests stay in the batch."""
        try:
            return await self._office.patiently(call)
        except LLMError as error:
            self._office.stop(error)
            raise Closed from None

    # -- its results ---------------------------------------------------------------------------------------

    async def _hand_out(self, status: BatchStatus, crowd: Callable[[], list[asyncio.Task]]) -> None:
        for file in status.files:
            await self._must(lambda file=file: self._read(file))
        if status.state == "failed" and isinstance(status.error, RateLimited):
            await self._wait_for_room(status.error, crowd)
            return
        if status.at is not None and status.error is not None:
            one = list(self.waiting.values())[status.at : status.at + 1]
            for line in one:
                del self.waiting[line.key]
            fail(one, status.error)
            self.leave(Unfinished(f"another request of its batch was refused: {status.error}"))
        else:
            self.leave(self._why_none(status))

    async def _read(self, file: str) -> None:
        count = 0
        async for result in self._office.llm.results(file):
            if not result.asked:
                self._unasked = True
            elif result.key in self.waiting:
                await self._answer(result)
            elif result.key not in self._taken:
                self._spare[result.key] = result
            count += 1
            if count % 64 == 0:
                await asyncio.sleep(0)

    async def _answer(self, result: BatchResult) -> None:
        line = self.waiting[result.key]
        self._taken.add(result.key)
        answer = await self._answer_in(result, line.request)
        if self.waiting.get(line.key) is line:  # else nobody waits any more
            del self.waiting[line.key]
        if line.answer.done():
            return
        if isinstance(answer, LLMError):
            line.answer.set_exception(answer)
        else:
            line.answer.set_result(answer)

    async def _answer_in(self, result: BatchResult, request: ChatRequest) -> ChatResponse | LLMError:
        llm, lessons = self._office.llm, self.record.lessons
        try:
            return llm.read_result(result, request, lessons)
        except LLMError as error:
            refusal = error
        try:
            return await self._office.patiently(lambda: llm.explain(refusal, request, lessons))
        except LLMError:  # the endpoint cannot be asked, or not now
            return refusal

    def _why_none(self, status: BatchStatus) -> LLMError:
        """What to tell a request that it holds no result for."""
        name = f"{self._office.llm.endpoint}: the batch {self.record.remote}"
        if status.state == "completed" and not self._unasked:
            return ServerError(f"{name} holds no result for the request", paid=True)
        if status.state in ("completed", "expired") and (self._taken or self._spare):
            return Unfinished(f"{name} ended before the request was asked")
        if status.state == "failed" and status.error is not None:
            return status.error
        return ending(
            f"{name} is {status.word}, and requests of it have no answer; start the run again to put these"
            " into a new batch, or set batch = false to ask them one by one; nothing that was answered is"
            " lost"
        )

    # -- no room -------------------------------------------------------------------------------------------

    async def _wait_for_room(self, error: LLMError, crowd: Callable[[], list[asyncio.Task]]) -> None:
        """The endpoint has no room for it: when another batch has ended, or with fewer requests in one."""
        office, most = self._office, None
        if others := crowd():
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        else:
            wait = error.retry_after or office.batching.again
            if len(self.waiting) < 2 or wait > office.patience:
                raise ending(
                    f"{error}; the endpoint has no room for a batch; start the run again later, nothing that"
                    " was answered is lost"
                )
            most = len(self.waiting) // 2
            await asyncio.sleep(wait)
        await self._anew(error, most, None)

    async def _anew(self, error: LLMError, most: int | None, most_bytes: int | None) -> None:
        """Its requests go into other batches."""
        lines = list(self.waiting.values())
        self.waiting.clear()
        self.leave(Unfinished(str(error)))
        await self._office.anew(lines, most, most_bytes)


def ending(message: str) -> LLMError:
    """An error that ends the run; its requests stay open."""
    error = error_of("unfinished", message)
    error.fatal = True
    return error
