"""Caps on requests, tokens and money, and the bounds by which they are reserved before a request goes out."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .protocol import ChatRequest, Usage

_TURN = 32  # tokens a chat template may add around a message, and as much again around the whole


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens, in any one currency."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        if not (0 <= self.prompt < float("inf") and 0 <= self.completion < float("inf")):
            raise ValueError(f"price: {self.prompt} and {self.completion} per million tokens; both are >= 0")

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """What a ledger's requests may cost in all, over every run that shares it; None leaves a cap out."""

    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    price: Price | None = None

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_tokens", "max_cost"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"budget.{name}: {value}; a cap is not negative (leave it out for no cap)")
        if self.max_cost is not None and self.price is None:
            raise ValueError(
                "budget.max_cost: a cap on money needs budget.price, the price of a million tokens"
            )

    def cost(self, usage: Usage) -> float:
        return self.price.of(usage) if self.price else 0.0


@dataclass(frozen=True, slots=True)
class Amount:
    """Requests, tokens and money: spent, or held back for what is in flight."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.requests + other.requests, self.tokens + other.tokens, self.cost + other.cost)

    def passes(self, budget: Budget) -> str | None:
        """The name of the cap that this amount passes, if any."""
        for name in ("requests", "tokens", "cost"):
            cap = getattr(budget, f"max_{name}")
            if cap is not None and getattr(self, name) > cap:
                return f"max_{name} = {cap}"
        return None


def most(request: ChatRequest) -> Usage:
    """The most tokens that one request can cost: a token is at least one byte of the prompt."""
    prompt = sum(len(m.content.encode("utf-8", "surrogatepass")) + _TURN for m in request.messages) + _TURN
    if request.schema is not None:
        prompt += len(json.dumps(request.schema))
    return Usage(prompt, request.max_tokens * request.n)
