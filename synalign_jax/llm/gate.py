"""The way to the endpoint: open for a request when there is a slot, the rates allow it and no pause is on."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from .breaker import Breaker
from .concurrency import Concurrency
from .protocol import LLMError, Overloaded, Quota, RateLimited, ServerError, Timeout, Unreachable, Usage
from .rates import Bucket


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
    ) -> None:
        now = time.monotonic()
        self.concurrency = Concurrency(concurrency)
        self.breaker = Breaker(first_wait=first_wait, longest_wait=longest_wait)
        self.in_flight = 0
        self._requests = Bucket(requests_per_minute, now) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, now) if tokens_per_minute else None
        self._paused_until = 0.0
        self.holders = 0  # requests that hold a share of the budget, or ask for it
        self._departed = asyncio.Event()
        self._probing = False
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

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
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        self._admit()
        try:
            probe = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.leave(turn.result())
            raise
        try:
            await self._keep_rates(most)
        except BaseException:
            self.leave(probe)
            raise
        return probe

    async def _keep_rates(self, most: Usage) -> None:
        now, wait = time.monotonic(), 0.0
        if self._requests:
            wait = self._requests.take(1, now)
        if self._tokens:
            wait = max(wait, self._tokens.take(most.prompt_tokens + most.completion_tokens, now))
        while wait > 0:
            await self.sleep(wait)
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
        if isinstance(error, RateLimited | Overloaded | Timeout):
            self.concurrency.refused()
        elif error is None:
            self.concurrency.answered(seconds)
        if isinstance(error, RateLimited | Overloaded | Timeout | ServerError | Unreachable):
            self.breaker.failure(now, probe=probe, wait=error.retry_after or 0.0)
        elif self.breaker.success():
            self.concurrency.resume()
        if quota:
            self._heed(quota, most)

    def _heed(self, quota: Quota, most: Usage) -> None:
        wait = quota.requests_reset if quota.requests == 0 else 0.0
        if quota.tokens is not None and quota.tokens < most.prompt_tokens / 4 + most.completion_tokens:
            wait = max(wait, quota.tokens_reset)
        self._paused_until = max(self._paused_until, time.monotonic() + wait)

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
        if spent or not self.holders:
            departed, self._departed = self._departed, asyncio.Event()
            departed.set()

    async def departure(self) -> None:
        """Wait until a holder has come back.

        Raises:
            Closed: the gate closed meanwhile.
        """
        await self._departed.wait()
        if self.closed:
            raise Closed

    def note(self) -> str:
        """Why nothing moves, in words; empty while something does."""
        left = self.pause_left()
        if self.breaker.open:
            return f"the endpoint does not answer; next try in {left:.0f} s"
        return f"the endpoint asked to wait; {left:.0f} s left" if left else ""

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

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise Closed as soon as the gate closes."""
        if seconds <= 0 and not self.closed:
            return
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return
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
