"""The estimate of a run that sends nothing."""

import pytest
from fake_endpoint import job

from synalign_jax.llm.budget import Budget, Price
from synalign_jax.llm.estimate import estimate
from synalign_jax.llm.limits import Limits

REQUESTS = [job("word " * 20, max_tokens=100).request for _ in range(50)]


def test_tokens_and_cost_come_from_the_tokenizer_and_the_prices() -> None:
    found = estimate(
        REQUESTS,
        count_tokens=lambda text: len(text.split()),
        budget=Budget(price=Price(1.0, 4.0), max_cost=0.01),
    )
    assert found.requests == 50
    assert found.prompt_tokens.low == found.prompt_tokens.high == 50 * (20 + 8)
    assert (found.completion_tokens.low, found.completion_tokens.high) == (500, 5000)
    assert found.cost.low == pytest.approx((1400 * 1 + 500 * 4) / 1e6)
    assert found.cost.high == pytest.approx((1400 * 1 + 5000 * 4) / 1e6)
    assert found.passes == "max_cost = 0.01"
    assert "could pass         max_cost" in str(found)


def test_without_a_tokenizer_bytes_give_an_interval() -> None:
    found = estimate(REQUESTS)
    assert found.prompt_tokens.low <= 50 * (20 + 8) < found.prompt_tokens.high
    assert found.cost is None
    assert "no prices" in str(found)


def test_time_is_bound_by_slots_or_by_rates() -> None:
    by_slots = estimate(REQUESTS, limits=Limits(concurrency=10), seconds_an_answer=(1.0, 3.0))
    assert (by_slots.seconds.low, by_slots.seconds.high) == (5.0, 15.0)
    by_rate = estimate(
        REQUESTS, limits=Limits(concurrency=10, requests_per_minute=60), seconds_an_answer=(1.0, 3.0)
    )
    assert (by_rate.seconds.low, by_rate.seconds.high) == (50.0, 50.0)


def test_no_requests_cost_nothing() -> None:
    found = estimate([])
    assert (found.requests, found.completion_tokens.high, found.seconds.high) == (0, 0, 0)
