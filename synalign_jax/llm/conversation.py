"""One request from its first attempt to its end: sent, recorded, retried, asked again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from .answers.usable import ThoughtsAlone, asked_again, used
from .budget import most
from .desk import Deadline, Desk
from .protocol import (
    LLM,
    BadAnswer,
    BudgetReached,
    Cancelled,
    ChatRequest,
    ChatResponse,
    Discreet,
    LLMError,
    Loading,
    Misconfigured,
    RateLimited,
    ServerError,
    Timeout,
    Unfinished,
    Unsupported,
    Usage,
    error_of,
)
from .records import Elsewhere, Known, OverBudget, Ticket, keyed

_POLL = 0.25  # seconds between two looks at a request that another run has in flight
_MOST_LESSONS = 48  # times that one request may be put otherwise
_LUCK = 3  # times max_attempts where the reasons differ, and times reasks where other answers are not bad
_SPARED = 2  # failures in between which others were answered, that neither count nor lengthen the wait


class Failures:
    """The failures of one request that share a course of waits."""

    def __init__(self) -> None:
        self.steps = 0  # of the doubling that the next wait has taken
        self.spared = 0
        self._last = 0.0

    def add(self, silence: float) -> None:
        """One more. `silence`: seconds since anybody was answered. Where others were answered since the last
        failure the endpoint is there, and a few failures more are bad luck: waiting ever longer for them
        would only make a run's last requests late."""
        now = time.monotonic()
        if not self._last:
            pass
        elif self.spared < _SPARED and silence < now - self._last:
            self.spared += 1
        else:
            self.steps += 1
        self._last = now


class Conversation:
    """`hold` asks until there is an answer, on record, or none is to be had."""

    def __init__(self, desk: Desk, request: ChatRequest, key: str, body: str) -> None:
        self._desk, self._request, self._key, self._body = desk, request, key, body
        self.attempts = 0
        self.value: Any = None
        self._why = ""  # the last failure, for who asks why nothing moves
        self._failures = Failures()  # that count towards max_attempts
        self._kinds: set[str] = set()  # of those failures
        self._postponed = 0  # times that it would have been given up, and lets others try first
        self._refusals = Failures()  # by rate limits
        self._reasks = 0
        self._changes = 0  # options left out meanwhile
        self._headroom = 0  # sent with the last attempt
        self._spent = 0.0  # seconds in attempts and waits

    async def hold(self) -> Known:
        """How the request ended.

        Raises:
            LLMError: one that ends the run.
            Closed: the run is stopping.
        """
        end: Known | float = 0.0
        request = self._request
        if not self._desk.lessons.recalled(request.model):
            await self._desk.lessons.recall(request.model)
        while not isinstance(end, Known):
            if end:
                await self._desk.gate.sleep(end, self._why)
            end, request = await self._attempt(request)
        return end

    async def _attempt(self, request: ChatRequest) -> tuple[Known | float, ChatRequest]:
        """Ask once: how the request ended, or the seconds to wait, and then what to ask."""
        gate, plain = self._desk.gate, request
        self._headroom = self._desk.lessons.headroom(request.model)
        if self._headroom:
            request = replace(plain, max_tokens=plain.max_tokens + self._headroom)
        bound = most(request)
        probe = await gate.enter(bound, first=self.attempts > 0 and not self._postponed)
        try:
            if self._headroom != self._desk.lessons.headroom(request.model):  # learnt while this one waited
                return 0.0, plain
            ticket = await self._begin(bound)
            if isinstance(ticket, Known):
                return ticket, plain
            if isinstance(ticket, Elsewhere):
                self._why = ""
                return _POLL, plain
            try:
                answer = await self._send(request, ticket, probe, bound)
                end, recorded = self._conclude(ticket, answer)
            finally:
                gate.let_go(spent=True)
        finally:
            # The record is queued before the slot is free: at a kill no more is in flight than slots.
            gate.leave(probe)
        await recorded
        if isinstance(answer, Unsupported) or self._headroom != self._desk.lessons.headroom(request.model):
            await self._desk.lessons.keep(request.model)
        if isinstance(end, LLMError):
            raise end
        if isinstance(answer, LLMError) and not isinstance(end, Known):
            self._desk.tally.retry(answer.kind)
            self._why = answer.kind.replace("_", " ")
            if isinstance(answer, BadAnswer) and not isinstance(answer, ThoughtsAlone):
                schema_known = getattr(self._desk.llm, "sees_to_schema", False)
                plain = asked_again(self._request, answer, show_schema=not schema_known)
        return end, plain

    async def _begin(self, bound: Usage) -> Ticket | Known | Elsewhere:
        """Put the attempt on record; while others hold the budget's rest, wait for them."""
        desk = self._desk
        while True:
            desk.gate.hold()
            try:
                leave = await desk.ledger.begin(
                    self._key, self._body, bound, desk.budget, batched=desk.batches is not None
                )
            except BaseException:
                desk.gate.let_go(spent=False)
                raise
            if isinstance(leave, Ticket):
                if leave.batched and desk.batches is None:
                    desk.gate.let_go(spent=False)
                    raise Misconfigured(
                        "requests of this ledger are in batches at the endpoint; set batch = true to wait for"
                        " their answers, or give these up: synalign ledger RUN --forget-batches"
                    )
                return leave
            desk.gate.let_go(spent=False)
            if not isinstance(leave, OverBudget):
                return leave
            if not desk.gate.holders:
                raise BudgetReached(
                    f"the budget's {leave.cap} is used up: the next request could pass it; raise the cap and"
                    " start the run again to go on"
                )
            await desk.gate.departure()

    async def _send(
        self, request: ChatRequest, ticket: Ticket, probe: bool, bound: Usage
    ) -> ChatResponse | LLMError:
        """One call of the endpoint: its answer, fit for use, or what went wrong."""
        desk = self._desk
        answer: ChatResponse | LLMError
        response = None
        started = time.monotonic()
        self.attempts += 1
        try:
            with Deadline(desk.deadlines):
                if desk.batches is not None:
                    response = await desk.batches.ask(self._key, request, ticket)
                else:
                    response = await desk.llm.complete(keyed(request, f"{self._key}-{self._reasks}"))
            answer, self.value = used(self._request, response, limit=request.max_tokens)
            desk.used = True
        except LLMError as error:
            answer = error
        except TimeoutError:
            answer = Timeout(f"no answer within {desk.limits.attempt_timeout:g} s", paid=True)
        except asyncio.CancelledError:
            if desk.batches is not None:
                desk.batches.let_go(ticket)
            else:
                desk.ledger.failed(ticket, Cancelled("the run was stopped", paid=True), 0.0, dead=False)
            raise
        seconds = time.monotonic() - started
        self._spent += seconds
        usage = answer.usage
        if usage:
            desk.tally.pay(usage, desk.budget.cost(usage))
        desk.gate.learn(
            probe,
            bound,
            seconds,
            error=answer if isinstance(answer, LLMError) and response is None else None,
            usage=usage,
            quota=response.quota if response else None,
        )
        return answer

    def _conclude(
        self, ticket: Ticket, answer: ChatResponse | LLMError
    ) -> tuple[Known | float | LLMError, Awaitable[None]]:
        """What follows: the end, the seconds until the next attempt, or the error that ends the run.

        The attempt's record is on its way when this returns; it comes back to be waited for.
        """
        ledger, budget = self._desk.ledger, self._desk.budget
        if isinstance(answer, ChatResponse):
            self._desk.answered()
            return Known(answer, None), ledger.answered(ticket, answer, budget.cost(answer.usage))
        wait = self._wait(answer)
        end = self._desk.reason_to_stop(self._key, answer, last=wait is None, spent=self._spent)
        if end:  # the request stays open: the next run asks it
            self._desk.gate.close()
        dead = end is None and wait is None
        shown = _discreet(answer, self._desk.llm)
        recorded = ledger.failed(ticket, shown, budget.cost(answer.usage or Usage()), dead=dead)
        return end or (Known(None, shown) if wait is None else wait), recorded

    def _wait(self, error: LLMError) -> float | None:
        """Seconds until the next attempt; None if there is to be none."""
        limits = self._desk.limits
        if isinstance(error, ThoughtsAlone):
            return 0.0 if self._desk.lessons.raise_headroom(self._request.model, self._headroom) else None
        if isinstance(error, Unsupported):
            self._changes += 1
            return 0.0 if self._changes <= _MOST_LESSONS else None
        if isinstance(error, Unfinished):
            return 0.0
        if isinstance(error, RateLimited | Loading):
            self._refusals.add(self._desk.gate.silence())
            return max(error.retry_after or 0.0, self._backoff(limits.first_wait, self._refusals.steps))
        if isinstance(error, BadAnswer):
            self._reasks += 1
            luck = _LUCK if self._desk.tally.seldom("bad_answer") else 1
            wait = 0.0 if self._reasks <= luck * limits.reasks else None
        else:
            self._failures.add(self._desk.gate.silence())
            self._kinds.add(error.kind)
            calm = isinstance(error, ServerError | Timeout)  # load is not to blame, or has passed
            first = limits.first_wait / 4 if calm else limits.first_wait
            wait = max(error.retry_after or 0.0, self._backoff(first, self._failures.steps))
            luck = _LUCK if len(self._kinds) > 1 else 1
            if not error.retry or self._failures.steps + 1 >= luck * limits.max_attempts:
                wait = wait if self._lets_others_try(error) else None
        self._spent += wait or 0.0
        return wait if self._spent <= limits.total_timeout else None

    def _lets_others_try(self, error: LLMError) -> bool:
        """Whether, instead of the end, others come first: while nobody is answered it may be the
        endpoint that fails, and not this request."""
        gate = self._desk.gate
        if not isinstance(error, ServerError) or not gate.others_wait or gate.silence() <= self._spent:
            return False
        self._postponed += 1
        return self._postponed <= self._desk.limits.max_attempts

    def _backoff(self, first: float, steps: int) -> float:
        """Exponential, with jitter over its upper half so that requests that failed together part."""
        return min(self._desk.limits.longest_wait, first * 2 ** min(steps, 64)) * random.uniform(0.5, 1.0)


def _discreet(error: LLMError, llm: LLM) -> LLMError:
    """The error as it may go on record."""
    if not isinstance(llm, Discreet):
        return error
    shown = error_of(error.kind, llm.redact(str(error)), raw=error.raw and llm.redact(error.raw))
    shown.paid, shown.usage, shown.retry_after = error.paid, error.usage, error.retry_after
    return shown
