"""What the answers of a loop cost together."""

from __future__ import annotations

from collections.abc import Mapping

from synalign_jax.llm.budget import Price
from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import Usage


class Till:
    """Adds up tokens and money of answers, in the order that the loop hears of them: what a run that was
    killed and continued counts is what an undisturbed one counts.

    Attributes:
        tokens: prompts and answers together.
        cost: money; None while no answer had a price.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.cost: float | None = None

    def count(self, outcome: Outcome | None, prices: Mapping[str, Price]) -> None:
        """Count an answer at the price of its model, if that has one."""
        usage = outcome.response.usage if outcome is not None and outcome.response is not None else Usage()
        self.tokens += usage.prompt_tokens + usage.completion_tokens
        price = prices.get(outcome.job.request.model) if outcome is not None else None
        if price is not None:
            self.cost = (self.cost or 0.0) + price.of(usage)
