"""Bad luck is told from a request that cannot be answered."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_endpoint import QUICK, Endpoint, ask, job

from synalign_jax.llm.conversation import Failures
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import Misconfigured, ServerError

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def test_a_bad_answer_among_many_good_ones_gets_more_than_its_reasks(tmp_path: Path) -> None:
    """Bad luck thrice in a row is no dead letter that one more attempt would have saved."""

    def behave(prompt: str, times: int) -> str:
        return "no JSON" if prompt == "99" and times < 5 else '{"text": "a"}'

    llm = Endpoint(behave)
    outcomes = ask(tmp_path / "l", llm, [job(i, schema=SCHEMA) for i in range(100)])
    assert [o.error for o in outcomes if o.error] == []
    assert max(o.attempts for o in outcomes) == 6


def test_two_failures_in_between_which_others_were_answered_do_not_lengthen_the_wait() -> None:
    failures, steps = Failures(), []
    for silence in (99.0, 0.0, 0.0, 0.0, 99.0):  # seconds since anybody was answered
        failures.add(silence)
        steps.append(failures.steps)
    assert steps == [0, 0, 0, 1, 2]
    alone = Failures()
    for _ in range(4):
        alone.add(99.0)
    assert alone.steps == 3


def failing(count: float) -> Endpoint:
    """An endpoint whose first `count` answers are failures of the moment."""
    asked = itertools.count()
    return Endpoint(
        lambda prompt, times: ServerError("HTTP 500", raw="oops") if next(asked) < count else "fine"
    )


def test_an_endpoint_that_says_not_now_at_first_is_waited_for(tmp_path: Path) -> None:
    """Somebody is there: sixteen failures and five probes are no wrong base_url."""
    outcomes = ask(tmp_path / "l", failing(21), [job(i) for i in range(8)])
    assert all(o.response for o in outcomes)


def test_what_was_given_up_while_nothing_was_answered_is_open_again(tmp_path: Path) -> None:
    """One at a time: the first requests end before it is clear that the endpoint is down."""
    limits = replace(QUICK, concurrency=1)
    with pytest.raises(Misconfigured, match="nothing that can be used"):
        ask(tmp_path / "l", failing(math.inf), [job(i) for i in range(8)], limits=limits)
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.summary().dead == 0
    outcomes = ask(tmp_path / "l", failing(0), [job(i) for i in range(8)], limits=limits)
    assert all(o.response and not o.cached for o in outcomes)


def test_a_failing_endpoint_is_told_from_a_failing_request_by_letting_others_try(tmp_path: Path) -> None:
    """One at a time: an outage longer than the attempts costs none; a request that always fails ends."""
    limits = replace(QUICK, concurrency=1)
    outcomes = ask(tmp_path / "outage", failing(12), [job(i) for i in range(8)], limits=limits)
    assert all(o.response for o in outcomes)
    llm = Endpoint(lambda prompt, times: ServerError("HTTP 500", raw="oops") if prompt == "0" else "fine")
    outcomes = ask(tmp_path / "request", llm, [job(i) for i in range(8)], limits=limits)
    assert [o.job.tag for o in outcomes if o.error] == [0]
    assert len(llm.requests) <= 7 + QUICK.max_attempts + 2
