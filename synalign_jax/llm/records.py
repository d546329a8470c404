"""What a ledger is told and answers, and the key under which it knows a request."""

from __future__ import annotations

import abc
import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .budget import Amount, Budget
from .protocol import ChatRequest, ChatResponse, LLMError, Usage

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_LONGEST_RAW = 65_536  # characters of an answer that a dead letter keeps


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request: it is on record as in flight, with `held` of the budget.

    `batched` says that it was sent in a batch before, whose result is not on record yet.
    """

    run: int
    number: int
    request: int
    held: Amount
    batched: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """How a request ended: answered, or dead with its error."""

    response: ChatResponse | None
    error: LLMError | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another run has the request in flight."""


@dataclass(frozen=True, slots=True)
class OverBudget:
    """Sending the request could pass this cap."""

    cap: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, and the state that it leaves its request in. Texts are JSON, hence ASCII."""

    ticket: Ticket
    outcome: str
    usage: Usage
    cost: float
    state: str
    maybe_paid: bool = False
    answer: str | None = None
    reason: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A request that was given up: why, and what the endpoint sent last."""

    key: str
    kind: str
    reason: str
    raw: str | None
    request: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ledger holds.

    `in_flight` requests belong to a run that is alive; `maybe_paid` attempts were cut off by a kill, a
    timeout or a lost connection after the endpoint had them: it may have charged up to `maybe_tokens` and
    `maybe_cost` for them, which counts towards a budget but not in `usage` and `cost`. `lost` of them were
    in flight at a kill. `batched` are in batches at their endpoint, whether or not a run waits for them.
    `failures` counts attempts by the kind of their error.
    """

    answered: int
    dead: int
    open: int
    in_flight: int
    attempts: int
    failures: dict[str, int]
    dead_by_kind: dict[str, int]
    usage: Usage
    cost: float
    lost: int
    maybe_paid: int
    maybe_tokens: int
    maybe_cost: float
    batched: int = 0


@dataclass(slots=True)
class Order:
    """What the ledger's thread is to do, and where its answer goes."""

    verb: str
    argument: Any
    future: asyncio.Future[Any]
    answer: Any = None


def deliver(orders: Iterable[Order]) -> None:
    """Hand the answers to those who wait; to be called in their loop."""
    for order in orders:
        if order.future.cancelled():
            continue
        if isinstance(order.answer, Exception):
            order.future.set_exception(order.answer)
        else:
            order.future.set_result(order.answer)


def request_body(endpoint: str, request: ChatRequest) -> str:
    """Everything that determines the answer, as canonical ASCII JSON."""
    # Only where it is set: requests of before keep their keys.
    continues = {"continues": True} if request.continues else {}
    return _CANONICAL.encode(
        continues
        | {
            "endpoint": endpoint,
            "model": request.model,
            "messages": [[message.role, message.content] for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": request.stop,
            "n": request.n,
            "logprobs": request.logprobs,
            "schema": None if request.schema is None else dict(request.schema),
            "extra": dict(request.extra),
        }
    )


def request_key(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:40]


def packed(response: ChatResponse) -> str:
    """The form in which an answer is kept."""
    usage = response.usage
    choices = [[choice.text, choice.finish_reason, choice.logprobs] for choice in response.choices]
    return json.dumps([choices, [usage.prompt_tokens, usage.completion_tokens], response.model])


class Entries(abc.ABC):
    """The driver's side of a ledger. Every call is an order, whose future is done once it is on disk."""

    @abc.abstractmethod
    def order(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        """Have the ledger do something; its result."""

    @abc.abstractmethod
    def holds_ends(self) -> bool:
        """Whether any request has ended yet; if none has, no lookup is worth its while."""

    def lookup(self, key: str) -> asyncio.Future[Known | None]:
        """How the request ended, if it did."""
        return self.order("lookup", key)

    def begin(
        self, key: str, body: str, most: Usage, budget: Budget, *, batched: bool = False
    ) -> asyncio.Future[Ticket | Known | Elsewhere | OverBudget]:
        """Put the request on record as in flight, `most` held of the budget, unless something bars it.
        `batched`: nothing is sent for it until it is in a batch."""
        held = Amount(1, most.prompt_tokens + most.completion_tokens, budget.cost(most))
        return self.order("begin", (key, body, held, budget, batched))

    def answered(self, ticket: Ticket, response: ChatResponse, cost: float) -> asyncio.Future[None]:
        """Put the answer on record; it is durable when the future is done."""
        ending = Ending(ticket, "answered", response.usage, cost, "answered", answer=packed(response))
        return self.order("finish", ending)

    def failed(self, ticket: Ticket, error: LLMError, cost: float, *, dead: bool) -> asyncio.Future[None]:
        """Put a failed attempt on record, and if it is `dead` its request among the dead letters."""
        ending = Ending(
            ticket,
            error.kind,
            error.usage or Usage(),
            cost,
            "dead" if dead else "open",
            maybe_paid=error.paid and error.usage is None,
            reason=json.dumps(str(error)),
            raw=None if error.raw is None else json.dumps(error.raw[:_LONGEST_RAW]),
        )
        return self.order("finish", ending)

    def reopen(self, keys: Collection[str]) -> asyncio.Future[None]:
        """Open dead letters again."""
        return self.order("reopen", keys)

    def lessons(self, endpoint: str, model: str) -> asyncio.Future[dict[str, Any] | None]:
        """What `learn` kept of this model at this endpoint."""
        return self.order("lessons", (endpoint, model))

    def learn(self, endpoint: str, model: str, known: dict[str, Any]) -> asyncio.Future[None]:
        """Keep what was learnt of a model."""
        return self.order("learn", (endpoint, model, known))
