"""One request from its first attempt to its end: sent, recorded, retried, asked again."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any

from . import structured
from .budget import Budget, most
from .gate import Gate
from .ledger import Ledger
from .limits import Limits
from .progress import Tally
from .protocol import (
    LLM,
    BadAnswer,
    BudgetReached,
    Cancelled,
    ChatRequest,
    ChatResponse,
    LLMError,
    Message,
    Misconfigured,
    RateLimited,
    ServerError,
    Timeout,
    Unreachable,
    Unsupported,
    Usage,
    error_of,
)
from .records import Elsewhere, Known, OverBudget, Ticket

_SHOWN = 2_000  # characters of a bad answer that the model is shown
_POLL = 0.25  # seconds between two looks at a request that another run has in flight
_PROBES_OF_A_STRANGER = 3  # probes after which an endpoint that never answered is given up


@dataclass(frozen=True, slots=True)
class Desk:
    """What every conversation of a run works with."""

    llm: LLM
    ledger: Ledger
    limits: Limits
    budget: Budget
    gate: Gate
    tally: Tally


class Conversation:
    """`hold` asks until there is an answer, on record, or none is to be had."""

    def __init__(self, desk: Desk, request: ChatRequest, key: str, body: str) -> None:
        self._desk, self._request, self._key, self._body = desk, request, key, body
        self.attempts = 0
        self.value: Any = None
        self._failures = 0  # that count towards max_attempts
        self._refusals = 0  # by rate limits
        self._reasks = 0
        self._spent = 0.0  # seconds in attempts and waits

    async def hold(self) -> Known:
        """How the request ended.

        Raises:
            LLMError: one that ends the run.
            Closed: the run is stopping.
        """
        end: Known | float = 0.0
        request = self._request
        while not isinstance(end, Known):
            await self._desk.gate.sleep(end)
            end, request = await self._attempt(request)
        return end

    async def _attempt(self, request: ChatRequest) -> tuple[Known | float, ChatRequest]:
        """Ask once: how the request ended, or the seconds to wait, and then what to ask."""
        gate, bound = self._desk.gate, most(request)
        probe = await gate.enter(bound, first=self.attempts > 0)
        try:
            ticket = await self._begin(bound)
            if isinstance(ticket, Known):
                return ticket, request
            if isinstance(ticket, Elsewhere):
                return _POLL, request
            try:
                answer = await self._send(request, ticket, probe, bound)
                end, recorded = self._conclude(ticket, answer)
            finally:
                gate.let_go(spent=True)
        finally:
            # The record is queued before the slot is free: at a kill no more is in flight than slots.
            gate.leave(probe)
        await recorded
        if isinstance(end, LLMError):
            raise end
        if isinstance(answer, LLMError) and not isinstance(end, Known):
            self._desk.tally.retry(answer.kind)
            if isinstance(answer, BadAnswer):
                request = self._reask(answer)
        return end, request

    async def _begin(self, bound: Usage) -> Ticket | Known | Elsewhere:
        """Put the attempt on record; while others hold the budget's rest, wait for them."""
        desk = self._desk
        while True:
            desk.gate.hold()
            try:
                leave = await desk.ledger.begin(self._key, self._body, bound, desk.budget)
            except BaseException:
                desk.gate.let_go(spent=False)
                raise
            if isinstance(leave, Ticket):
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
            async with asyncio.timeout(desk.limits.attempt_timeout):
                response = await desk.llm.complete(
                    replace(request, idempotency_key=f"{self._key}-{self._reasks}")
                )
            answer = self._usable(response)
        except LLMError as error:
            answer = error
        except TimeoutError:
            answer = Timeout(f"no answer within {desk.limits.attempt_timeout:g} s", paid=True)
        except asyncio.CancelledError:
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

    def _usable(self, response: ChatResponse) -> ChatResponse:
        """The response, its texts clean; its JSON is put into `value`.

        Raises:
            BadAnswer: it is not what was asked for.
        """
        choices = response.choices
        cleaned = [structured.clean(choice.text) for choice in choices]
        if any(text is not choice.text for text, choice in zip(cleaned, choices, strict=True)):
            choices = tuple(replace(c, text=text) for c, text in zip(choices, cleaned, strict=True))
            response = replace(response, choices=choices)
        try:
            if len(choices) != self._request.n:
                raise BadAnswer(f"{len(choices)} choice(s), {self._request.n} asked for")
            if self._request.schema is not None:
                self.value = read_json(self._request, response)
            elif not any(choice.text.strip() for choice in choices):
                raise BadAnswer("the answer is empty")
        except BadAnswer as error:
            cut = any(choice.finish_reason == "length" for choice in choices)
            short = f"; it was cut off at {self._request.max_tokens} tokens, so be shorter" if cut else ""
            raw = "\n".join(choice.text for choice in choices)
            raise BadAnswer(f"{error}{short}", raw=raw, usage=response.usage) from None
        return response

    def _conclude(
        self, ticket: Ticket, answer: ChatResponse | LLMError
    ) -> tuple[Known | float | LLMError, Awaitable[None]]:
        """What follows: the end, the seconds until the next attempt, or the error that ends the run.

        The attempt's record is on its way when this returns; it comes back to be waited for.
        """
        ledger, budget = self._desk.ledger, self._desk.budget
        if isinstance(answer, ChatResponse):
            return Known(answer, None), ledger.answered(ticket, answer, budget.cost(answer.usage))
        wait = self._wait(answer)
        end = self._reason_to_stop(answer, last=wait is None)
        if end:  # the request stays open: the next run asks it
            self._desk.gate.close()
        dead = end is None and wait is None
        recorded = ledger.failed(ticket, answer, budget.cost(answer.usage or Usage()), dead=dead)
        return end or (Known(None, answer) if wait is None else wait), recorded

    def _reason_to_stop(self, error: LLMError, *, last: bool) -> LLMError | None:
        """What ends the whole run, if this error does: asking anything else would fail the same way."""
        limits, breaker = self._desk.limits, self._desk.gate.breaker
        if error.fatal:
            return error
        if (error.retry_after or 0.0) > limits.total_timeout:
            return error_of(
                error.kind,
                f"{error}; the endpoint asks to wait {error.retry_after:.0f} s, longer than total_timeout ="
                f" {limits.total_timeout:g} s; start the run again later, nothing that was answered is lost",
            )
        if not breaker.ever_answered:
            in_vain = last and isinstance(error, Unreachable | Timeout)
            if in_vain or breaker.probes >= _PROBES_OF_A_STRANGER:
                return Misconfigured(
                    f"nothing has answered yet: {error}; check base_url and that the server runs"
                )
        elif breaker.open and (last or breaker.probes >= limits.max_attempts):
            return error_of(
                error.kind,
                f"the endpoint has stopped answering: {error}; start the run again when it is back, nothing"
                " that was answered is lost",
            )
        return None

    def _wait(self, error: LLMError) -> float | None:
        """Seconds until the next attempt; None if there is to be none."""
        limits = self._desk.limits
        if isinstance(error, BadAnswer):
            self._reasks += 1
            wait = 0.0 if self._reasks <= limits.reasks else None
        elif isinstance(error, RateLimited):
            self._refusals += 1
            wait = max(error.retry_after or 0.0, self._backoff(limits.first_wait, self._refusals))
        else:
            self._failures += 1
            calm = isinstance(
                error, ServerError | Timeout | Unsupported
            )  # load is not to blame, or has passed
            first = limits.first_wait / 4 if calm else limits.first_wait
            wait = max(error.retry_after or 0.0, self._backoff(first, self._failures))
            if not error.retry or self._failures >= limits.max_attempts:
                wait = None
        self._spent += wait or 0.0
        return wait if self._spent <= limits.total_timeout else None

    def _reask(self, error: BadAnswer) -> ChatRequest:
        """The request again, with the answer that could not be used and why; a text to continue as it was.

        Small models copy what they are shown: the schema is shown only where the endpoint has not been told.
        """
        request = self._request
        if request.continues:
            return request
        correction = f"That answer could not be used: {error}. Answer again"
        if request.schema is not None:
            correction += ", with nothing but the JSON that was asked for"
            if not getattr(self._desk.llm, "sees_to_schema", False):
                correction += "; it fits this schema: " + json.dumps(dict(request.schema))
        messages = (*request.messages, Message("user", correction + "."))
        if error.raw and error.raw.strip():
            shown = Message("assistant", error.raw[:_SHOWN])
            messages = (*request.messages, shown, messages[-1])
        return replace(request, messages=messages)

    def _backoff(self, first: float, failures: int) -> float:
        """Exponential, with jitter over its upper half so that requests that failed together part."""
        return min(self._desk.limits.longest_wait, first * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)


def read_json(request: ChatRequest, response: ChatResponse) -> Any:
    """The JSON of the answer: one value, or for n > 1 a list with None for each unusable choice.

    Raises:
        BadAnswer: no choice is usable.
    """
    assert request.schema is not None
    if request.n == 1:
        return structured.parse(response.text, request.schema)
    values, refusal = [], None
    for choice in response.choices:
        try:
            values.append(structured.parse(choice.text, request.schema))
        except BadAnswer as error:
            values.append(None)
            refusal = error
    if refusal and all(value is None for value in values):
        raise refusal
    return values
