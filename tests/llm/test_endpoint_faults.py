"""A server that breaks three answers in ten: every request ends, nothing is paid for twice unknowingly."""

import asyncio
from pathlib import Path

import pytest
from fake_endpoint import job
from stub_endpoint import FAULTS, Stub
from synalign_adapters.openai import OpenAIChat

from synalign_jax.llm.driver import Limits, stream
from synalign_jax.llm.ledger import Ledger

SCHEMA = {"type": "object", "properties": {"sentence": {"type": "string"}}, "required": ["sentence"]}
# So long that on a busy machine a whole answer is not taken for one that hangs.
LIMITS = Limits(concurrency=16, attempt_timeout=4.0, first_wait=0.02, longest_wait=0.1)


def run(url: str, path: Path, names: range, limits: Limits = LIMITS) -> tuple[list, object]:
    async def main() -> tuple[list, object]:
        llm = OpenAIChat(url, api_key_env=None)
        with Ledger(path) as ledger:
            jobs = [job(i, schema=SCHEMA) for i in names]
            outcomes = [o async for o in stream(llm, jobs, ledger=ledger, limits=limits)]
            await llm.aclose()
            return outcomes, ledger.summary()

    return asyncio.run(main())


def test_every_request_ends_answered_or_dead_and_is_answered_once(tmp_path: Path) -> None:
    with Stub(faults=0.3, retry_after=0, latency=0.005) as stub:
        outcomes, summary = run(stub.url, tmp_path / "l", range(300))
        stats = stub.stats()
    assert sorted(o.job.tag for o in outcomes) == list(range(300))
    answered = [o for o in outcomes if o.response]
    assert all(o.value == {"sentence": f"about {o.job.tag}"} or o.attempts > 1 for o in answered)
    assert all(o.error.kind in summary.dead_by_kind for o in outcomes if o.error)
    assert summary.answered == len(answered) >= 290
    assert summary.answered + summary.dead == 300
    # A key was never asked again after a usable answer: no answer is paid for twice.
    assert set(stats["usable"].values()) == {1}
    assert (
        summary.attempts
        == sum(stats["asked"].values())
        == 300 + sum(summary.failures.values()) - summary.dead
    )
    assert {"rate_limited", "server_error", "overloaded", "timeout", "bad_answer"} <= set(summary.failures)


KINDS = {
    "429 with Retry-After": "rate_limited",
    "429": "rate_limited",
    "503": "overloaded",
    "hang": "timeout",
    "wrong schema": "bad_answer",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_known_for_what_it_is(tmp_path: Path, fault: str) -> None:
    with Stub(faults=0.5, only=fault, retry_after=0, seed=3) as stub:
        outcomes, summary = run(stub.url, tmp_path / "l", range(12))
    assert len(outcomes) == 12
    assert set(summary.failures) == {KINDS.get(fault, "server_error")}
    unpaid = fault in (
        "429",
        "429 with Retry-After",
        "500",
        "503",
        "wrong schema",
    )  # the last is paid, surely
    assert summary.maybe_paid == (0 if unpaid else summary.failures[KINDS.get(fault, "server_error")])


def test_a_server_of_few_slots_is_not_flooded(tmp_path: Path) -> None:
    with Stub(capacity=5, latency=0.01) as stub:
        outcomes, summary = run(stub.url, tmp_path / "l", range(300), Limits(concurrency=64, first_wait=0.02))
    assert all(o.response for o in outcomes)
    assert summary.failures["rate_limited"] < 300
