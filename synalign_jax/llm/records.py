"""What a ledger is told and answers, and the key under which it knows a request."""

from __future__ import annotations

import abc
import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
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
    """Everything that determines the answer, as canonical ASCII JSON: sorted by name, without spaces."""
    put = _CANONICAL.encode
    messages = ",".join([f"[{_quoted(m.role)},{_quoted(m.content)}]" for m in request.messages])
    # Put together by hand: json would sort the names anew for each of many thousands.
    return (
        # Only where it is set: requests of before keep their keys.
        ('{"continues":true,' if request.continues else "{")
        + f'"endpoint":{_quoted(endpoint)},"extra":{put(dict(request.extra)) if request.extra else "{}"},'
        f'"logprobs":{_plain(request.logprobs)},"max_tokens":{_plain(request.max_tokens)},'
        f'"messages":[{messages}],"model":{_quoted(request.model)},"n":{_plain(request.n)},'
        f'"schema":{"null" if request.schema is None else put(dict(request.schema))},'
        f'"seed":{_plain(request.seed)},"stop":{_plain(tuple(request.stop))},'
        f'"temperature":{_plain(request.temperature)},"top_p":{_plain(request.top_p)}}}'
    )


def _plain(value: float | tuple[str, ...] | None) -> str:
    if type(value) is float and value - value == 0.0:  # finite; and -0.0 is another text than 0.0
        return repr(value)
    return _remembered(value)


@lru_cache(maxsize=256, typed=True)
def _remembered(value: float | tuple[str, ...] | None) -> str:
    return _CANONICAL.encode(value)


def keyed(request: ChatRequest, key: str) -> ChatRequest:
    """The request with this idempotency key; `dataclasses.replace` takes three times as long."""
    r = request
    return ChatRequest(
        r.messages, r.model, r.max_tokens, r.temperature, r.top_p, r.seed, r.stop, r.n, r.logprobs, r.schema,
        r.continues, r.extra, key,
    )  # fmt: skip


def request_key(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:40]


def packed(response: ChatResponse) -> str:
    """The form in which an answer is kept."""
    usage = response.usage
    choices = [
        f"[{_quoted(choice.text)}, {_quoted(choice.finish_reason)}, {json.dumps(choice.logprobs)}]"
        if choice.logprobs is not None
        else f"[{_quoted(choice.text)}, {_quoted(choice.finish_reason)}, null]"
        for choice in response.choices
    ]
    used = f"[{usage.prompt_tokens}, {usage.completion_tokens}]"
    return f"[[{', '.join(choices)}], {used}, {_quoted(response.model)}]"


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
