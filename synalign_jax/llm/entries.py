"""What a run puts on record about its requests and asks of the record, wherever the ledger's file lies."""

from __future__ import annotations

import abc
import asyncio
import json
from collections.abc import Collection
from typing import Any

from . import tables
from .budget import Amount, Budget
from .protocol import ChatResponse, LLMError, Usage
from .records import Elsewhere, Ending, Known, OverBudget, Ticket

_LONGEST_RAW = 65_536  # characters of an answer that a dead letter keeps


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
        ending = Ending(ticket, "answered", response.usage, cost, "answered", answer=tables.packed(response))
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
