"""What the conversations of a run share, and when one of them ends the run: asking on would be in vain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType

from .answers.usable import ThoughtsAlone
from .batches.batches import Batches
from .budget import Budget
from .gate import Gate
from .lessons import Lessons
from .limits import Limits
from .progress import Tally
from .protocol import (
    LLM,
    LLMError,
    Loading,
    Misconfigured,
    Overloaded,
    RateLimited,
    Refused,
    ServerError,
    Timeout,
    Unreachable,
    error_of,
)
from .records import Entries

_PROBES_OF_A_STRANGER = 3  # probes after which an endpoint that never answered is given up
_ALL_REFUSED = (3, 12)  # refusals in a row that blame the endpoint: before any answer, and after one


class Deadlines:
    """asyncio.timeout for many that may all take equally long: one timer for them, and not one for each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Deadline, None] = {}  # the first is the next to be late
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self, deadline: Deadline) -> None:
        loop = asyncio.get_running_loop()
        deadline.at = loop.time() + self.seconds
        self._running[deadline] = None
        if self._alarm is None:
            self._alarm = loop.call_at(deadline.at, self._look)

    def end(self, deadline: Deadline) -> None:
        self._running.pop(deadline, None)

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = None
        while self._running:
            deadline = next(iter(self._running))
            if deadline.at > loop.time():
                self._alarm = loop.call_at(deadline.at, self._look)
                return
            del self._running[deadline]
            deadline.expire()


class Deadline:
    """`with Deadline(deadlines):` in a task raises TimeoutError where the block takes too long."""

    __slots__ = ("_cancelled", "_deadlines", "_expired", "_task", "at")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines, self._expired, self.at = deadlines, False, 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelled = task, task.cancelling()
        self._deadlines.begin(self)

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        # Where somebody else has cancelled the task too, that is what it must hear of.
        if self._expired and self._task.uncancel() <= self._cancelled and kind is asyncio.CancelledError:
            raise TimeoutError from error


@dataclass(slots=True)
class Desk:
    """What every conversation of a run works with."""

    llm: LLM
    ledger: Entries
    limits: Limits
    budget: Budget
    gate: Gate
    tally: Tally
    lessons: Lessons
    deadlines: Deadlines  # of single attempts
    batches: Batches | None = None  # where requests go in these
    refused: list[str] = field(default_factory=list)  # keys, since the last answer, for no clear reason
    given_up: list[str] = field(
        default_factory=list
    )  # keys, since the last answer, for the endpoint's failures
    used: bool = False  # whether any answer could be used

    def answered(self) -> None:
        """The endpoint works: what was refused or given up before lay at these requests."""
        self.refused.clear()
        self.given_up.clear()

    def reason_to_stop(self, key: str, error: LLMError, *, last: bool, spent: float) -> LLMError | None:
        """What ends the whole run, if this error of the request `key` does.

        Requests that were given up since the last answer are open again then: it was not they that failed.

        Args:
            last: whether the request has no attempt left.
            spent: seconds that it has taken so far.
        """
        end = self._reason(key, error, last=last, spent=spent)
        if end and self.given_up:
            self.ledger.reopen(list(self.given_up))
        elif end is None and last and isinstance(error, ServerError | Timeout | Overloaded | Unreachable):
            self.given_up.append(key)
        return end

    def _reason(self, key: str, error: LLMError, *, last: bool, spent: float) -> LLMError | None:
        limits, breaker = self.limits, self.gate.breaker
        if error.fatal:
            return error
        if (error.retry_after or 0.0) > limits.total_timeout:
            return error_of(
                error.kind,
                f"{error}; the endpoint asks to wait {error.retry_after:.0f} s, longer than total_timeout ="
                f" {limits.total_timeout:g} s; start the run again later, nothing that was answered is lost",
            )
        if isinstance(error, RateLimited | Loading):
            return self._waited_long_enough(error)
        if isinstance(error, Refused) and not error.why:
            return self._refused_like_all(key, error)
        if isinstance(error, ThoughtsAlone):
            return Misconfigured(str(error), raw=error.raw) if last and not self.used else None
        if not breaker.ever_answered:
            shared = isinstance(error, Unreachable | Timeout | Overloaded) or _is_no_answer(error)
            enough = breaker.probes >= (
                limits.max_attempts if _is_of_the_moment(error) else _PROBES_OF_A_STRANGER
            )
            return _no_answer_yet(error) if (last and shared) or enough else None
        if breaker.open and (last or breaker.probes >= limits.max_attempts):
            return _gone(error)
        if last and isinstance(error, Overloaded | Unreachable) and self.gate.silence() > spent:
            return _gone(error)  # nobody was answered in all that time
        return None

    def _waited_long_enough(self, error: LLMError) -> LLMError | None:
        """A rate limit and a loading server are waited for while anything is answered in between."""
        limits, silence = self.limits, self.gate.silence()
        if silence <= limits.total_timeout:
            return None
        hint = " (requests_per_minute keeps below its limit)" if isinstance(error, RateLimited) else ""
        return error_of(
            error.kind,
            f"{error}; nothing was answered for {silence:.0f} s, longer than total_timeout ="
            f" {limits.total_timeout:g} s; start the run again later{hint}, nothing that was answered is"
            " lost",
        )

    def _refused_like_all(self, key: str, error: LLMError) -> LLMError | None:
        """One refusal is its request's fault; one after another, and no answer in between, the endpoint's."""
        if self.batches and self.used:  # the results of a batch come refusals after refusals
            return None
        if key not in self.refused:
            self.refused.append(key)
        if len(self.refused) < _ALL_REFUSED[self.used]:
            return None
        self.ledger.reopen(list(self.refused))
        return Misconfigured(
            f"the endpoint refuses one request after another: {error}; mend what it names and start again,"
            " the requests are still open",
            raw=error.raw,
        )


def _is_of_the_moment(error: LLMError) -> bool:
    """Whether somebody is there, and says that it cannot be done now: base_url and the rest may be right."""
    return isinstance(error, Overloaded) or (
        isinstance(error, ServerError) and not error.paid and error.raw is not None
    )


def _is_no_answer(error: LLMError) -> bool:
    """Whether the endpoint said that all is well, and sent what is no answer."""
    return isinstance(error, ServerError) and error.paid and error.raw is not None


def _no_answer_yet(error: LLMError) -> LLMError:
    if error.raw is None:
        said = f"nothing has answered yet: {error}; check base_url and that the server runs"
    else:
        said = f"the server answers, but with nothing that can be used: {error}"
    return Misconfigured(said, raw=error.raw)


def _gone(error: LLMError) -> LLMError:
    return error_of(
        error.kind,
        f"the endpoint has stopped answering: {error}; start the run again when it is back, nothing that was"
        " answered is lost",
    )
