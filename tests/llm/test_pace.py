"""How hard an endpoint is pressed: concurrency, breaker and buckets, on a simulated clock."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.llm.breaker import Breaker
from synalign_jax.llm.concurrency import Concurrency
from synalign_jax.llm.gate import Gate
from synalign_jax.llm.protocol import RateLimited, Usage
from synalign_jax.llm.rates import Bucket


def simulate(
    control: Concurrency, serve: Callable[[int, float], float | None], answers: int
) -> tuple[list[int], float, int]:
    """Keep `control.limit` requests in flight until `answers` came.

    `serve(in flight, now)` gives the seconds that an answer takes, or None for a refusal, which takes 0.05 s.
    Returns the limits seen, the seconds taken and the number of refusals.
    """
    now, refusals, limits = 0.0, 0, []
    flying: list[tuple[float, int, float | None]] = []
    order = itertools.count()
    while len(limits) < answers:
        while len(flying) < control.limit:
            served = sum(seconds is not None for _, _, seconds in flying) + 1
            seconds = serve(served, now)
            at = now + (0.05 if seconds is None else seconds)
            heapq.heappush(flying, (at, next(order), seconds))
        now, _, seconds = heapq.heappop(flying)
        if seconds is None:
            control.refused()
            refusals += 1
        else:
            control.answered(seconds)
            limits.append(control.limit)
    return limits, now, refusals


def test_a_server_that_scales_gets_the_ceiling() -> None:
    limits, _, _ = simulate(Concurrency(256), lambda load, now: 1.0, 5_000)
    assert limits[-1] == 256


@pytest.mark.parametrize("slots", [1, 4, 8, 32])
def test_slots_are_filled_but_queues_are_not(slots: int) -> None:
    rng = random.Random(0)

    def serve(load: int, now: float) -> float:  # a queue: latency grows with the load over the slots
        return max(load / slots, 1.0) * rng.uniform(0.8, 1.2)

    limits, _, _ = simulate(Concurrency(256), serve, 5_000)
    assert min(limits) >= min(slots, 16)
    assert max(limits[-1000:]) <= max(4 * slots, 40)


def test_a_server_with_a_cap_is_pressed_to_its_cap_without_a_storm() -> None:
    serve = lambda load, now: None if load > 10 else 1.0  # noqa: E731
    _, seconds, refusals = simulate(Concurrency(256), serve, 3_000)
    assert seconds < 1.3 * 3_000 / 10
    assert refusals < 3_000


def test_refusals_at_random_do_not_starve_a_run() -> None:
    rng = random.Random(0)
    limits, _, _ = simulate(Concurrency(64), lambda load, now: None if rng.random() < 0.12 else 1.0, 20_000)
    assert sum(limits[-5000:]) / 5000 > 48


def test_a_server_that_slows_down_is_felt_without_a_refusal() -> None:
    limits, _, _ = simulate(Concurrency(64), lambda load, now: 1.0 if now < 60 else 8.0, 10_000)
    at_first = max(limits)
    assert at_first == 64
    assert min(limits) <= 48


@given(st.lists(st.sampled_from(["fast", "slow", "refused"]), max_size=500), st.integers(1, 300))
def test_the_limit_stays_between_one_and_the_ceiling(events: list[str], ceiling: int) -> None:
    control = Concurrency(ceiling)
    for event in events:
        if event == "refused":
            control.refused()
        else:
            control.answered(0.1 if event == "fast" else 100.0)
        assert 1 <= control.limit <= ceiling


def test_refusals_in_a_row_that_name_a_wait_stop_all_the_more_of_them_the_more_are_in_flight() -> None:
    """Among 36 in flight three such in a row are bad luck; where three are, it is the endpoint's limit."""
    for in_flight, enough in ((3, 3), (36, 6)):
        rates = {"requests_per_minute": None, "tokens_per_minute": None}
        gate = Gate(concurrency=36, first_wait=0.5, longest_wait=60.0, **rates)
        gate.in_flight = in_flight
        for _ in range(enough):
            assert gate.pause_left() == 0
            gate.learn(False, Usage(1, 1), 0.1, error=RateLimited("wait", retry_after=5.0))
        assert gate.pause_left() > 4


def test_the_breaker_opens_after_failures_in_a_row_and_lets_probes_through() -> None:
    breaker = Breaker(first_wait=1.0, longest_wait=5.0)
    breaker.success()
    for _ in range(15):
        breaker.failure(0.0, probe=False)
    assert not breaker.open
    breaker.failure(0.0, probe=False)
    assert (breaker.open, breaker.probe_at) == (True, 1.0)
    breaker.failure(0.5, probe=False)  # a straggler that was under way
    assert (breaker.probes, breaker.probe_at) == (0, 1.0)
    for probes, at in [(1, 2.0), (2, 4.0), (3, 5.0), (4, 5.0)]:
        breaker.failure(0.0, probe=True)
        assert (breaker.probes, breaker.probe_at) == (probes, at)
    breaker.failure(0.0, probe=True, wait=30.0)
    assert breaker.probe_at == 30.0
    assert breaker.success()
    assert not breaker.open
    assert not breaker.success()


@given(st.floats(1, 5000), st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), min_size=1, max_size=200))
def test_no_minute_ever_holds_more_than_its_limit(
    per_minute: float, arrivals: list[tuple[float, int]]
) -> None:
    bucket = Bucket(per_minute, 0.0)
    now, ready, used = 0.0, 0.0, []
    for gap, amount in arrivals:
        now += gap
        ready = max(ready, now + bucket.take(amount, now))
        used.append((ready, amount))
    largest = max(amount for _, amount in used)
    for start, _ in used:
        in_minute = sum(amount for at, amount in used if start <= at < start + 60)
        assert in_minute <= max(per_minute, 1) + largest


def test_what_is_given_back_may_be_taken_again() -> None:
    bucket = Bucket(600, 0.0)
    assert bucket.take(10, 0.0) == 0.0
    assert bucket.take(10, 0.0) > 0.9
    bucket.give_back(10)
    bucket.give_back(10)
    assert bucket.take(10, 0.0) == 0.0
