"""The driver: every job ends in one outcome, whatever the endpoint does."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fake_endpoint import QUICK, Endpoint, answer, ask, job

from synalign_jax.llm.budget import Budget, Price, most
from synalign_jax.llm.driver import Job, Limits, Progress, stream
from synalign_jax.llm.ledger import Ledger, LedgerError
from synalign_jax.llm.protocol import (
    BadAnswer,
    BudgetReached,
    ChatRequest,
    Message,
    Misconfigured,
    Overloaded,
    Quota,
    RateLimited,
    Refused,
    ServerError,
    Unreachable,
)

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def test_each_job_ends_once_and_its_tag_comes_back(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: f"about {prompt}")
    outcomes = ask(tmp_path / "l", llm, (job(i) for i in range(500)))
    assert sorted(o.job.tag for o in outcomes) == list(range(500))
    assert all(o.response.text == f"about {o.job.tag}" and not o.cached and o.attempts == 1 for o in outcomes)


def test_jobs_may_come_from_an_async_iterator(tmp_path: Path) -> None:
    async def jobs():
        for i in range(20):
            await asyncio.sleep(0)
            yield job(i)

    assert len(ask(tmp_path / "l", Endpoint(), jobs())) == 20


def test_no_jobs_is_no_outcome(tmp_path: Path) -> None:
    assert ask(tmp_path / "l", Endpoint(), []) == []


def test_an_answer_on_record_is_never_asked_for_again(tmp_path: Path) -> None:
    first, second = Endpoint(), Endpoint()
    ask(tmp_path / "l", first, [job(i) for i in range(10)])
    outcomes = ask(tmp_path / "l", second, [job(i) for i in range(15)])
    assert sorted(o.job.tag for o in outcomes if o.cached) == list(range(10))
    assert len(second.requests) == 5


def test_equal_requests_in_one_run_are_asked_once(tmp_path: Path) -> None:
    llm = Endpoint(seconds=0.01)
    outcomes = ask(tmp_path / "l", llm, [job("same") for _ in range(30)])
    assert len(llm.requests) == 1
    assert [o.response.text for o in outcomes] == ["fine"] * 30
    assert sum(not o.cached for o in outcomes) == 1


def test_two_runs_at_once_on_one_ledger_ask_each_request_once(tmp_path: Path) -> None:
    one, two = Endpoint(seconds=0.005), Endpoint(seconds=0.005)

    async def run(llm: Endpoint) -> list:
        with Ledger(tmp_path / "l") as ledger:
            return [o async for o in stream(llm, [job(i) for i in range(60)], ledger=ledger, limits=QUICK)]

    async def both() -> list:
        return await asyncio.gather(run(one), run(two))

    for outcomes in asyncio.run(both()):
        assert sorted(o.job.tag for o in outcomes) == list(range(60))
        assert all(o.response for o in outcomes)
    asked = [r.messages[0].content for llm in (one, two) for r in llm.requests]
    assert sorted(asked) == sorted(str(i) for i in range(60))


@pytest.mark.parametrize("error", [ServerError, Overloaded, Unreachable, RateLimited])
def test_what_may_pass_is_tried_again(tmp_path: Path, error: type) -> None:
    llm = Endpoint(lambda prompt, times: error("not now") if times < 3 else "fine")
    (outcome,) = ask(tmp_path / "l", llm, [job("x")])
    assert (outcome.response.text, outcome.attempts) == ("fine", 4)
    assert len({r.idempotency_key for r in llm.requests}) == 1


def test_a_request_that_keeps_failing_is_a_dead_letter_and_stays_one(tmp_path: Path) -> None:
    def behave(prompt: str, times: int):
        return ServerError("HTTP 500", raw="<html>") if prompt == "bad" else "fine"

    llm = Endpoint(behave)
    outcomes = {o.job.tag: o for o in ask(tmp_path / "l", llm, [job("good"), job("bad")])}
    assert outcomes["good"].response
    assert outcomes["bad"].attempts == QUICK.max_attempts
    assert isinstance(outcomes["bad"].error, ServerError)
    again = Endpoint(behave)
    (outcome,) = ask(tmp_path / "l", again, [job("bad")])
    assert (outcome.cached, str(outcome.error), outcome.error.raw) == (True, "HTTP 500", "<html>")
    assert not again.requests
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.revive() == 1
    (outcome,) = ask(tmp_path / "l", Endpoint(), [job("bad")])
    assert outcome.response


def test_rate_limits_burn_no_attempts(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: RateLimited("slow down") if times < 12 else "fine")
    (outcome,) = ask(tmp_path / "l", llm, [job("x")], limits=replace(QUICK, max_attempts=2))
    assert outcome.response


def test_a_refused_request_is_asked_once(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: Refused("too long"))
    (outcome,) = ask(tmp_path / "l", llm, [job("x")])
    assert (outcome.error.kind, outcome.attempts) == ("refused", 1)


def test_an_answer_off_the_schema_is_asked_again_with_its_error_shown(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: '{"text": {}}' if times == 0 else '{"text": "seven"}')
    (outcome,) = ask(tmp_path / "l", llm, [job("x", schema=SCHEMA)])
    assert outcome.value == {"text": "seven"}
    first, second = llm.requests
    assert [m.role for m in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1].content == '{"text": {}}'
    assert "{} is not of type 'string'" in second.messages[2].content
    assert first.idempotency_key != second.idempotency_key  # a server must not answer it from its memory
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.summary().usage.completion_tokens == 10  # both answers were paid for


def test_re_asks_are_bounded_and_the_last_answer_is_kept(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: answer('{"te', reason="length"))
    (outcome,) = ask(tmp_path / "l", llm, [job("x", schema=SCHEMA)], limits=replace(QUICK, reasks=2))
    assert isinstance(outcome.error, BadAnswer)
    assert outcome.attempts == 3
    assert "cut off at 512 tokens" in str(outcome.error)
    with Ledger(tmp_path / "l") as ledger:
        (letter,) = ledger.dead_letters()
        assert (letter.kind, letter.raw) == ("bad_answer", '{"te')
        assert ledger.summary().failures == {"bad_answer": 3}


def test_several_choices_are_parsed_each(tmp_path: Path) -> None:
    def behave(prompt: str, times: int):
        good, bad = answer('{"text": "a"}').choices[0], answer("no").choices[0]
        return replace(answer(), choices=(good, bad))

    (outcome,) = ask(tmp_path / "l", Endpoint(behave), [job("x", schema=SCHEMA, n=2)])
    assert outcome.value == [{"text": "a"}, None]
    (outcome,) = ask(tmp_path / "l", Endpoint(), [job("x", schema=SCHEMA, n=2)])
    assert (outcome.cached, outcome.value) == (True, [{"text": "a"}, None])


def test_too_few_choices_are_no_answer(tmp_path: Path) -> None:
    (outcome,) = ask(tmp_path / "l", Endpoint(), [job("x", n=3)])
    assert "1 choice(s), 3 asked for" in str(outcome.error)


def test_an_endpoint_that_hangs_is_left_after_the_timeout(tmp_path: Path) -> None:
    def behave(prompt: str, times: int):
        return asyncio.sleep(3600) if times == 0 else "fine"

    (outcome,) = ask(
        tmp_path / "l", Endpoint(behave), [job("x")], limits=replace(QUICK, attempt_timeout=0.05)
    )
    assert (outcome.response.text, outcome.attempts) == ("fine", 2)
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.summary().maybe_paid == 1


def test_the_total_time_of_a_request_is_bounded(tmp_path: Path) -> None:
    limits = Limits(first_wait=0.02, longest_wait=0.02, total_timeout=0.2, max_attempts=1000)
    behave = lambda prompt, times: ServerError("no") if prompt == "x" else "fine"  # noqa: E731
    outcomes = ask(tmp_path / "l", Endpoint(behave), [job("x"), *map(job, range(200))], limits=limits)
    assert [o.job.tag for o in outcomes if o.error] == ["x"]


def test_a_wrong_key_stops_the_run_at_once(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: Misconfigured("the key in $KEY was refused"))
    with pytest.raises(Misconfigured, match=r"\$KEY"):
        ask(tmp_path / "l", llm, (job(i) for i in range(1000)))
    assert len(llm.requests) <= 16
    assert len({r.messages for r in llm.requests}) == len(llm.requests)  # none was tried again


def test_after_a_fatal_error_what_was_in_flight_is_still_delivered(tmp_path: Path) -> None:
    async def behave(prompt: str, times: int):
        if prompt == "bad":
            return Misconfigured("unknown model")
        await asyncio.sleep(0.05)
        return "fine"

    async def run() -> None:
        jobs = [job(1), job(2), job("bad"), *map(job, range(10, 500))]
        with Ledger(tmp_path / "l") as ledger:
            async for outcome in stream(Endpoint(behave), jobs, ledger=ledger):
                seen.append(outcome.job.tag)

    seen: list = []
    with pytest.raises(Misconfigured):
        asyncio.run(run())
    assert {1, 2} <= set(seen)
    assert len(seen) < 100


def test_nobody_at_the_address_stops_the_run(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: Unreachable("connection refused"))
    with pytest.raises(Misconfigured, match=r"nothing has answered.*base_url"):
        ask(tmp_path / "l", llm, [job(i) for i in range(100)])
    assert len(llm.requests) < 40
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.summary().dead == 0


def test_a_single_request_to_nobody_stops_the_run_too(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nothing has answered"):
        ask(tmp_path / "l", Endpoint(lambda prompt, times: Unreachable("refused")), [job(1)])


def test_an_endpoint_that_goes_away_stops_the_run_and_leaves_no_dead_letters(tmp_path: Path) -> None:
    asked = [0]

    def behave(prompt: str, times: int):
        asked[0] += 1
        return "fine" if asked[0] <= 40 else Unreachable("gone")

    with pytest.raises(Unreachable, match=r"stopped answering.*nothing that was\s+answered is lost"):
        ask(tmp_path / "l", Endpoint(behave), [job(i) for i in range(300)])
    with Ledger(tmp_path / "l") as ledger:
        assert (ledger.summary().answered, ledger.summary().dead) == (40, 0)


def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    asked = [0]

    def behave(prompt: str, times: int):
        asked[0] += 1
        return Overloaded("busy") if 40 < asked[0] <= 60 else "fine"

    outcomes = ask(tmp_path / "l", Endpoint(behave), [job(i) for i in range(200)])
    assert all(o.response for o in outcomes)


def test_a_server_that_wants_hours_stops_the_run(tmp_path: Path) -> None:
    llm = Endpoint(lambda prompt, times: RateLimited("quota", retry_after=86_400.0))
    with pytest.raises(RateLimited, match=r"86400 s, longer than total_timeout.*later"):
        ask(tmp_path / "l", llm, [job(1)])


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    asked: list[float] = []

    def behave(prompt: str, times: int):
        asked.append(asyncio.get_running_loop().time())
        return RateLimited("wait", retry_after=0.3) if times == 0 else "fine"

    ask(tmp_path / "l", Endpoint(behave), [job(1)])
    assert asked[1] - asked[0] >= 0.3


def test_headers_that_say_nothing_is_left_pause_the_run(tmp_path: Path) -> None:
    asked: list[float] = []

    def behave(prompt: str, times: int):
        asked.append(asyncio.get_running_loop().time())
        return answer(quota=Quota(requests=0, requests_reset=0.3) if len(asked) == 1 else None)

    outcomes = ask(tmp_path / "l", Endpoint(behave), [job(i) for i in range(3)], limits=Limits(concurrency=1))
    assert len(outcomes) == 3
    assert asked[1] - asked[0] >= 0.3


def test_requests_per_minute_hold(tmp_path: Path) -> None:
    asked: list[float] = []

    def behave(prompt: str, times: int):
        asked.append(asyncio.get_running_loop().time())
        return "fine"

    limits = Limits(requests_per_minute=600)  # bursts of 10, then 9.8 a second
    ask(tmp_path / "l", Endpoint(behave), [job(i) for i in range(15)], limits=limits)
    assert asked[-1] - asked[0] >= 4 / 9.83


def test_no_more_are_in_flight_than_allowed(tmp_path: Path) -> None:
    llm = Endpoint(seconds=0.002)
    ask(tmp_path / "l", llm, [job(i) for i in range(200)], limits=Limits(concurrency=7))
    assert llm.most_busy == 7


def test_a_budget_is_spent_to_the_last_request_and_never_passed(tmp_path: Path) -> None:
    # each request may cost `bound` tokens and costs 15; nearly all of the budget can be used in the end
    bound = most(job(100, max_tokens=50).request)
    budget = Budget(max_tokens=1_000, price=Price(1e6, 1e6), max_cost=700.0)
    llm = Endpoint(seconds=0.001)

    async def run() -> None:
        jobs = [job(i, max_tokens=50) for i in range(100, 300)]
        with Ledger(tmp_path / "l") as ledger:
            async for outcome in stream(llm, jobs, ledger=ledger, budget=budget):
                seen.append(outcome)

    seen: list = []
    with pytest.raises(BudgetReached, match="max_cost"):
        asyncio.run(run())
    worst = bound.prompt_tokens + bound.completion_tokens
    assert 700 - worst - 15 < 15 * len(seen) <= 700
    with pytest.raises(BudgetReached):  # the cap is the ledger's, not the run's
        ask(tmp_path / "l", Endpoint(), [job("more")], budget=budget)
    assert ask(tmp_path / "l", Endpoint(), [job("more")], budget=Budget(max_requests=1000))


def test_memory_does_not_grow_with_the_number_of_jobs(tmp_path: Path) -> None:
    made = []

    class Counted(str):
        alive = 0

        def __init__(self, *_: object) -> None:
            Counted.alive += 1
            made.append(None)

        def __del__(self) -> None:
            Counted.alive -= 1

    async def run() -> int:
        most_alive = 0
        jobs = (Job(ChatRequest((Message("user", f"{i}"),), "m"), Counted(i)) for i in range(3000))
        with Ledger(tmp_path / "l") as ledger:
            async for _ in stream(Endpoint(), jobs, ledger=ledger, limits=Limits(concurrency=8)):
                most_alive = max(most_alive, Counted.alive)
        return most_alive

    assert asyncio.run(run()) <= 2 * 8 + 64 + 2
    assert len(made) == 3000


def test_a_reader_that_leaves_early_leaves_nothing_running(tmp_path: Path) -> None:
    llm = Endpoint(seconds=0.01)

    async def run() -> int:
        with Ledger(tmp_path / "l") as ledger:
            outcomes = stream(llm, (job(i) for i in range(10_000)), ledger=ledger)
            async for _ in outcomes:
                break
            await outcomes.aclose()
            return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert len(llm.requests) < 200
    with Ledger(tmp_path / "l") as ledger:
        summary = ledger.summary()
        assert summary.in_flight == 0
        assert summary.maybe_paid == summary.failures.get("cancelled", 0) + summary.lost


def test_an_error_in_the_jobs_is_the_callers(tmp_path: Path) -> None:
    def jobs():
        yield job(1)
        raise KeyError("a column")

    with pytest.raises(KeyError, match="a column"):
        ask(tmp_path / "l", Endpoint(), jobs())


def test_a_bug_in_an_adapter_is_not_hidden(tmp_path: Path) -> None:
    def behave(prompt: str, times: int):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(tmp_path / "l", Endpoint(behave), [job(1), job(2)])


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        with Ledger(tmp_path / "l") as ledger:
            outcomes = stream(Endpoint(), (job("x" * 5000 + str(i)) for i in range(2000)), ledger=ledger)
            async for _ in outcomes:
                # Between its transactions: beside one, SQLite's record of the last error, one a connection,
                # is overwritten before Python reads it, and a failed statement passes for a good one.
                with ledger._turn:
                    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
                    ledger._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(LedgerError, match="full"):
        asyncio.run(run())


def test_answers_are_clean_text(tmp_path: Path) -> None:
    (outcome,) = ask(tmp_path / "l", Endpoint(lambda prompt, times: "a\0b\ud800"), [job(1)])
    assert outcome.response.text == "ab�"


def test_progress_counts_and_comes_while_nothing_moves(tmp_path: Path) -> None:
    seen: list[Progress] = []
    llm = Endpoint(lambda prompt, times: ServerError("no") if times == 0 and prompt == "3" else "fine", 0.7)
    budget = Budget(max_cost=9.0, price=Price(1.0, 2.0))
    ask(tmp_path / "l", llm, [job(i) for i in range(5)], on_progress=seen.append, budget=budget)
    assert len(seen) >= 3
    assert (seen[0].done, seen[0].total) == (0, 5)
    last = seen[-1]
    assert (last.done, last.failed, last.cached, last.in_flight, last.waiting) == (5, 0, 0, 0, 0)
    assert (last.prompt_tokens, last.completion_tokens) == (50, 25)
    assert last.retries == {"server_error": 1}
    assert last.spent == pytest.approx((50 * 1.0 + 25 * 2.0) / 1e6)
    assert last.cap == 9.0
    assert last.seconds > seen[0].seconds


@pytest.mark.parametrize(
    "setting",
    [
        {"concurrency": 0},
        {"attempt_timeout": 0},
        {"requests_per_minute": -1},
        {"reasks": -1},
        {"max_attempts": 0},
    ],
)
def test_limits_that_make_no_sense_are_named(setting: dict) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"limits.{name}"):
        Limits(**setting)
