"""What requests will cost and how long they will take, before any is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .budget import Amount, Budget, most
from .limits import Limits
from .protocol import ChatRequest, Usage

TEMPLATE = 8  # tokens that a chat template usually puts around a message
_BYTES_A_TOKEN = (2.5, 5.0)  # of common tokenizers, from dense scripts and code to plain English
_SECONDS = (0.5, 30.0)  # that one answer may take where nothing is known of the endpoint


@dataclass(frozen=True, slots=True)
class Interval:
    """The least and the most; the most of tokens and cost holds for first attempts that all succeed."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What requests will cost; `parts` tells several endpoints apart, `unpriced` names those without prices,
    whose cost is not in `cost`. `batched` says that requests go in batches, at the price of those.
    """

    requests: int
    prompt_tokens: Interval
    completion_tokens: Interval
    cost: Interval | None
    seconds: Interval
    passes: str | None  # the cap that the most would pass
    unpriced: tuple[str, ...] = ()
    parts: tuple[tuple[str, Estimate], ...] = ()
    batched: bool = False

    def __str__(self) -> str:
        def span(interval: Interval, form: str = ",.0f") -> str:
            return f"{interval.low:{form}} to {interval.high:{form}}"

        cost = span(self.cost, ",.4g") if self.cost else "no prices in the config"
        if self.unpriced:
            cost += f", and what {', '.join(self.unpriced)} costs, which has no prices"
        if self.batched and self.cost:
            cost += ", what is asked in batches at half its price"
        lines = [
            f"requests           {self.requests:,}",
            f"prompt tokens      {span(self.prompt_tokens)}",
            f"completion tokens  {span(self.completion_tokens)}",
            f"cost               {cost}",
            f"minutes            {span(Interval(self.seconds.low / 60, self.seconds.high / 60), ',.1f')}",
        ]
        for name, part in self.parts:
            of_it = f"cost {span(part.cost, ',.4g')}" if part.cost else "no prices"
            lines.append(f"  {name}: {part.requests:,} requests, {of_it}")
        return "\n".join([*lines, f"could pass         {self.passes}"] if self.passes else lines)


def estimate(
    requests: Iterable[ChatRequest],
    *,
    count_tokens: Callable[[str], int] | None = None,
    budget: Budget | None = None,
    limits: Limits | None = None,
    share_of_max: tuple[float, float] = (0.1, 1.0),
    seconds_an_answer: tuple[float, float] = _SECONDS,
) -> Estimate:
    """Count what `requests` hold, and bound what their answers will.

    Args:
        requests: rendered prompts; none is sent.
        count_tokens: the model's tokenizer; without it, the number of bytes bounds the tokens.
        budget: prices and caps.
        limits: concurrency and rates, for the time.
        share_of_max: how much of `max_tokens` answers use, at least and at most.
        seconds_an_answer: what one answer takes, at least and at most; measure one to narrow it.
    """
    budget, limits = budget or Budget(), limits or Limits()
    count, low, high, longest = 0, 0.0, 0.0, 0
    for request in requests:
        count += 1
        around = TEMPLATE * len(request.messages)
        if count_tokens:
            tokens = sum(count_tokens(message.content) for message in request.messages) + around
            low, high = low + tokens, high + tokens
        else:
            size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
            low += math.ceil(size / _BYTES_A_TOKEN[1]) + around
            high += math.ceil(size / _BYTES_A_TOKEN[0]) + around
        longest += most(request).completion_tokens
    prompt = Interval(low, high)
    completion = Interval(longest * share_of_max[0], longest * share_of_max[1])
    cost = None
    if budget.price:
        least, dearest = (
            budget.cost(Usage(round(p), round(c)))
            for p, c in ((prompt.low, completion.low), (prompt.high, completion.high))
        )
        cost = Interval(least, dearest)
    return Estimate(
        requests=count,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=cost,
        seconds=_time(count, prompt, completion, limits, seconds_an_answer),
        passes=Amount(count, math.ceil(prompt.high + completion.high), cost.high if cost else 0.0).passes(
            budget
        ),
    )


def _time(
    count: int, prompt: Interval, completion: Interval, limits: Limits, seconds_an_answer: tuple[float, float]
) -> Interval:
    """By the slots and, where they are tighter, by the rates."""
    rounds = math.ceil(count / limits.concurrency)
    by_rates = [0.0, 0.0]
    if limits.requests_per_minute:
        by_rates = [max(seconds, 60 * count / limits.requests_per_minute) for seconds in by_rates]
    if limits.tokens_per_minute:
        tokens = (prompt.low + completion.low, prompt.high + completion.high)
        by_rates = [
            max(seconds, 60 * amount / limits.tokens_per_minute)
            for seconds, amount in zip(by_rates, tokens, strict=True)
        ]
    low, high = (
        max(rounds * seconds, rate) for seconds, rate in zip(seconds_an_answer, by_rates, strict=True)
    )
    return Interval(low, high)
