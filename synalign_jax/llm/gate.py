"""The way to the endpoint: open for a request when there is a slot, the rates allow it and no pause is on."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from .breaker import Breaker
from .concurrency import AllAtOnce, Concurrency
from .protocol import (
    LLMError,
    Loading,
    Overloaded,
    Quota,
    RateLimited,
    ServerError,
    Timeout,
    Unreachable,
    Usage,
)
from .rates import Bucket

_OF_THE_ENDPOINT = (RateLimited, Overloaded, Loading, Timeout, ServerError, Unreachable)
_TOLD_AT = 3  # refusals in a row after which the wait that the last names is everybody's; by bad luck there
_TOLD_SHARE = 6  # are as many now and then where many are in flight, so that it is this part of them at least


class Closed(Exception):
    """The run is stopping: nothing more is sent."""


class Gate:
    """Slots for requests in flight. `enter` waits for one, `leave` gives it back with what was learnt."""

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        first_wait: float,
        longest_wait: float,
        patience: float = float("inf"),
        all_at_once: bool = False,
    ) -> None:
        """`patience`: seconds; a longer pause that the endpoint asks for closes the gate: `endless`.

        `all_at_once`: as many as `concurrency` go at once from the start, whatever comes back.
        """
        now = time.monotonic()
        self._started, self._patience = now, patience
        self.endless: LLMError | None = None
        self._why = ""
        self._limited = 0  # refusals by rate limits since the last answer
        self._resting: dict[int, tuple[float, str]] = {}  # requests that wait for themselves: until when, why
        self.concurrency = AllAtOnce(concurrency) if all_at_once else Concurrency(concurrency)
        self.breaker = Breaker(first_wait=first_wait, longest_wait=longest_wait, trips=not all_at_once)
        self.in_flight = 0
        self._requests = Bucket(requests_per_minute, now) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, now) if tokens_per_minute else None
        self._paused_until = 0.0
        self.holders = 0  # requests that hold a share of the budget, or ask for it
        self._departed = asyncio.Event()
        self._departures = 0  # who waits for it
        self._probing = False
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @property
    def others_wait(self) -> bool:
        """Whether requests wait for their turn."""
        return any(not turn.done() for turn in self._waiting)

    def pause_left(self) -> float:
        """Seconds until anything may be sent, by what the endpoint asked or the breaker set."""
        until = self._paused_until
        if self.breaker.open:
            until = max(until, self.breaker.probe_at)
        return max(0.0, until - time.monotonic())

    async def enter(self, most: Usage, *, first: bool = False) -> bool:
        """Wait for leave to send a request of at most these tokens; True if it is a probe of a lost endpoint.

        A retry goes `first`, before requests that were never sent.

        Raises:
            Closed: the gate closed meanwhile.
        """
        if self.closed:
            raise Closed
        if (
            self._waiting
            or self.breaker.open
            or self.in_flight >= self.concurrency.limit
            or self.pause_left()
        ):
            probe = await self._turn(first)
        else:
            self.in_flight += 1
            probe = False
        if self._requests or self._tokens:
            try:
                await self._keep_rates(most)
            except BaseException:
                self.leave(probe)
                raise
        return probe

    async def _turn(self, first: bool) -> bool:
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.leave(turn.result())
            raise

    async def _keep_rates(self, most: Usage) -> None:
        now, wait = time.monotonic(), 0.0
        if self._requests:
            wait = self._requests.take(1, now)
        if self._tokens:
            wait = max(wait, self._tokens.take(most.prompt_tokens + most.completion_tokens, now))
        while wait > 0:
            await self.sleep(wait, "your own limit of requests or tokens a minute")
            wait = 0.0 if self.breaker.open else self.pause_left()

    def learn(
        self,
        probe: bool,
        most: Usage,
        seconds: float,
        *,
        error: LLMError | None = None,
        usage: Usage | None = None,
        quota: Quota | None = None,
    ) -> None:
        """A request came back after `seconds`, with an answer or an error."""
        now = time.monotonic()
        if self._tokens and usage:
            self._tokens.give_back(
                most.prompt_tokens + most.completion_tokens - usage.prompt_tokens - usage.completion_tokens
            )
        if error is None:
            self.concurrency.answered(seconds)
        elif isinstance(error, RateLimited | Overloaded | Loading | Timeout):
            self.concurrency.refused()
        if isinstance(error, _OF_THE_ENDPOINT):
            self.breaker.failure(now, probe=probe, wait=error.retry_after or 0.0)
            if isinstance(error, RateLimited | Loading):
                self._share_wait(error)
        else:
            self._limited = 0
            if self.breaker.success(now):
                self.concurrency.resume()
        if quota:
            self._heed(quota, most)

    def _heed(self, quota: Quota, most: Usage) -> None:
        wait = quota.requests_reset if quota.requests == 0 else 0.0
        if quota.tokens is not None and quota.tokens < most.prompt_tokens / 4 + most.completion_tokens:
            wait = max(wait, quota.tokens_reset)
        self._pause(wait, "its rate limit is used up")
        if wait > self._patience:
            self.endless = RateLimited(
                f"the endpoint says that its rate limit is used up for {wait:.0f} s, longer than"
                f" total_timeout = {self._patience:g} s; start the run again later, nothing that was"
                " answered is lost",
                retry_after=wait,
            )
            self.close()

    def _share_wait(self, error: LLMError) -> None:
        """A wait that one request after another is told is meant for all of them."""
        self._limited += 1
        wait = error.retry_after or 0.0
        enough = max(_TOLD_AT, self.in_flight // _TOLD_SHARE)
        if wait and self._limited >= enough and wait <= self._patience:
            self._pause(
                wait, "it loads its model" if isinstance(error, Loading) else "its rate limit is reached"
            )

    def _pause(self, wait: float, why: str) -> None:
        until = time.monotonic() + wait
        if until > self._paused_until:
            self._paused_until, self._why = until, why

    def silence(self) -> float:
        """Seconds since the last answer, or since the start if there was none."""
        return time.monotonic() - (self.breaker.last_answer or self._started)

    def leave(self, probe: bool) -> None:
        """Give the slot of `enter` back."""
        self.in_flight -= 1
        if probe:
            self._probing = False
        self._admit()

    def hold(self) -> None:
        """A request asks for its share of the budget, or has it."""
        self.holders += 1

    def let_go(self, *, spent: bool) -> None:
        """It got none, or it has come back: what it did not spend is free."""
        self.holders -= 1
        if self._departures and (spent or not self.holders):
            departed, self._departed = self._departed, asyncio.Event()
            departed.set()

    async def departure(self) -> None:
        """Wait until a holder has come back.

        Raises:
            Closed: the gate closed meanwhile.
        """
        self._departures += 1
        try:
            await self._departed.wait()
        finally:
            self._departures -= 1
        if self.closed:
            raise Closed

    def note(self) -> str:
        """Why nothing moves, in words; empty while something does."""
        left, now = self.pause_left(), time.monotonic()
        if left and self._paused_until > now and self._paused_until >= self.breaker.probe_at:
            return f"the endpoint asked to wait ({self._why}); {left:.0f} s left"
        if self.breaker.open:
            why = next(iter(self._resting.values()), (0.0, ""))[1]
            return f"the endpoint does not answer{f' ({why})' if why else ''}; next try in {left:.0f} s"
        if self.in_flight or not self._resting:
            return ""
        until, why = min(self._resting.values())
        return f"waiting ({why}); next try in {max(0.0, until - now):.0f} s"

    def _admit(self) -> None:
        """Let in whoever may go now; if time alone stands in the way, come back then."""
        while self._waiting:
            turn = self._waiting[0]
            if turn.done():  # cancelled while it waited
                self._waiting.popleft()
                continue
            left = self.pause_left()
            if left > 0:
                self._wake_in(left)
                return
            if self.breaker.open:
                if self._probing:
                    return
                self._probing = True
            elif self.in_flight >= self.concurrency.limit:
                return
            self._waiting.popleft()
            self.in_flight += 1
            turn.set_result(self.breaker.open)

    def _wake_in(self, seconds: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._admit)

    async def sleep(self, seconds: float, why: str = "") -> None:
        """Sleep, or raise Closed as soon as the gate closes; `why` is for the note."""
        if seconds <= 0 and not self.closed:
            return
        place = id(asyncio.current_task())
        if why:
            self._resting[place] = time.monotonic() + seconds, why
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._resting.pop(place, None)
        raise Closed

    def close(self) -> None:
        """Send nothing more: whoever waits gets Closed."""
        self._closed.set()
        self._departed.set()
        if self._alarm:
            self._alarm.cancel()
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(Closed())
        self._waiting.clear()
