"""Requests in batches: every one is answered once and paid once, however the batches go."""

import asyncio
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path

import moods
import options
import pytest
from stub_batches import BatchServer, Course, served
from synalign_adapters.batches import OpenAIBatches
from synalign_adapters.openai import OpenAIChat
from test_zoo import jobs
from zoo import SOUND, Reply, Visit, completion, content, good, prompt_of, refusal

from synalign_jax.llm.batches.limits import Batching
from synalign_jax.llm.budget import Budget, Price
from synalign_jax.llm.driver import Limits, Outcome, Progress, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import LLMError, Misconfigured
from synalign_jax.llm.records import Summary

QUICK = Batching(gather=0.05, first_look=0.01, longest_look=0.03, again=0.05)
CALM = replace(QUICK, gather=0.3)  # what is asked together is one batch, on a busy machine too
PATIENT = Limits(total_timeout=5.0)
COUNT = 12


def ask(
    url: str,
    path: Path,
    *,
    count: int = COUNT,
    batching: Batching | None = QUICK,
    limits: Limits = PATIENT,
    budget: Budget | None = None,
    seen: list[Progress] | None = None,
    n: int = 1,
) -> tuple[list[Outcome], Summary, LLMError | None, list[str]]:
    """All outcomes of one run, how it ended, and what was warned of."""

    async def main() -> tuple[list[Outcome], Summary, LLMError | None]:
        llm = OpenAIBatches(url, api_key_env=None, endpoint="the stub")
        outcomes, error = [], None
        with Ledger(path) as ledger:
            try:
                async for outcome in stream(
                    llm,
                    [replace(job, request=replace(job.request, n=n)) for job in jobs(count)],
                    ledger=ledger,
                    limits=limits,
                    budget=budget,
                    batching=batching,
                    on_progress=None if seen is None else seen.append,
                ):
                    outcomes.append(outcome)
            except LLMError as stopped:
                error = stopped
            await llm.aclose()
            return outcomes, ledger.summary(), error

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        outcomes, summary, error = asyncio.run(asyncio.wait_for(main(), 300))
    return outcomes, summary, error, [str(w.message) for w in heard]


def all_answered(outcomes: list[Outcome], count: int = COUNT) -> bool:
    return sorted(o.job.tag for o in outcomes) == list(range(count)) and all(
        "tale of" in text for o in outcomes for text in (o.value or {"texts": [""]})["texts"]
    )


def test_all_requests_go_in_one_batch_and_are_matched_by_their_keys(tmp_path: Path) -> None:
    seen: list[Progress] = []
    server = BatchServer(course=lambda _: Course(looks=30))
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l", seen=seen)
        assert error is None
        assert all_answered(outcomes)
        alone = BatchServer()
        with served(alone) as other:  # the same answers as one by one, each to its own request
            llm = OpenAIChat(other, api_key_env=None)

            async def main() -> list[str]:
                found = [(await llm.complete(job.request)).text for job in jobs(COUNT)]
                await llm.aclose()
                return found

            expected = asyncio.run(main())
        assert [o.response and o.response.text for o in sorted(outcomes, key=lambda o: o.job.tag)] == expected
        assert len(server.batches) == 1
        assert not server.asked_alone
        assert set(server.paid.values()) == {1}
        assert (summary.answered, summary.batched, summary.in_flight, summary.open) == (COUNT, 0, 0, 0)
        assert any("waiting for a batch (batch_1 in_progress): 0 of 12 done" in p.note for p in seen)
        calls = dict(server.calls)
        again, *_ = ask(url, tmp_path / "l")
        assert all(o.cached for o in again)
        assert server.calls == calls


def test_what_a_batch_refuses_is_learnt_inside_it_and_kept(tmp_path: Path) -> None:
    server = BatchServer(options.takes_no_seed_in_mistral_words)
    with served(server) as url:
        outcomes, summary, error, said = ask(url, tmp_path / "l", batching=CALM)
        assert error is None
        assert all_answered(outcomes)
        assert len(server.batches) == 2
        assert [line for line in said if "'seed' is left out" in line] == said
        assert len(said) == 1
        assert summary.dead == 0
        outcomes, _, _, said = ask(url, tmp_path / "l", count=COUNT + 1, batching=CALM)
        assert all_answered(outcomes, COUNT + 1)
        assert len(server.batches) == 3
        assert not said


@pytest.mark.parametrize(
    "name",
    [
        "refuses_two_options_without_a_word",
        "refuses_schemas_without_a_word",
        "refuses_the_system_role_without_a_word",
    ],
)
def test_a_refusal_without_a_word_inside_a_batch_is_found_out_by_ordinary_calls(
    name: str, tmp_path: Path
) -> None:
    def busy(call: str, times: int) -> Reply | None:
        return Reply(503, {"error": {"message": "busy"}}) if call == "chat" and times == 3 else None

    server = BatchServer(SOUND[name], fault=busy)
    with served(server) as url:
        outcomes, summary, error, said = ask(url, tmp_path / "l", batching=CALM)
        assert error is None
        assert all_answered(outcomes)
        assert len(server.batches) == 2
        assert len(said) == 1
        assert summary.dead == 0
        alone = len(server.asked_alone)
        assert alone < 30  # one search, and the part of one that the endpoint was too busy for
        outcomes, _, _, said = ask(url, tmp_path / "l", count=COUNT + 1, batching=CALM)
        assert all_answered(outcomes, COUNT + 1)
        assert (len(server.batches), len(server.asked_alone), said) == (3, alone, [])


def test_a_refusal_without_a_word_that_batches_alone_give_ends_the_run_with_a_sentence(
    tmp_path: Path,
) -> None:
    server = BatchServer(lambda _: refusal("Invalid request."), lone=good)
    with served(server) as url:
        _, summary, error, _ = ask(url, tmp_path / "l", batching=CALM)
    assert "one request after another" in str(error)
    assert (summary.dead, summary.open) == (0, COUNT)
    assert len(server.batches) == 1
    assert len(server.asked_alone) < 12


def test_bad_answers_are_asked_again_in_the_next_batch_and_errors_one_by_one(tmp_path: Path) -> None:
    def behave(visit: Visit) -> Reply:
        number = int(prompt_of(visit.body).removeprefix("Write about ").rstrip("."))
        if number == 0 and visit.times == 0:
            return Reply(body=completion("no JSON at all"))
        if number == 1:
            return Reply(400, {"error": {"message": "flagged by moderation", "code": "content_filter"}})
        if number == 2 and len(visit.state.bodies) < 9:
            return Reply(500, {"error": {"message": "oops"}})
        return good(visit)

    server = BatchServer(behave)
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l", count=8)
    assert error is None
    assert {o.job.tag: o.error.kind for o in outcomes if o.error} == {1: "refused"}
    assert (summary.answered, summary.dead) == (7, 1)
    assert summary.failures == {"bad_answer": 1, "refused": 1, "server_error": 1}
    assert len(server.batches) == 2
    assert [len(batch) for batch in server.bodies] == [8, 2]


def test_an_expired_batch_keeps_what_it_answered_and_the_rest_goes_into_another(tmp_path: Path) -> None:
    server = BatchServer(course=lambda n: Course("expired", asked=5) if n == 1 else Course())
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert [len(batch) for batch in server.bodies] == [COUNT, COUNT - 5]
    assert set(server.paid.values()) == {1}
    assert summary.maybe_paid == 0


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_batch_that_ends_unasked_stops_the_run_and_the_next_start_asks_the_rest(
    end: str, tmp_path: Path
) -> None:
    asked = 4 if end == "cancelled" else 0
    server = BatchServer(course=lambda n: Course(end, asked=asked) if n == 1 else Course())
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
        assert f"batch_1 is {end}" in str(error)
        assert "start the run again" in str(error)
        assert len(outcomes) == summary.answered == asked
        assert (summary.dead, summary.batched, summary.maybe_paid) == (0, 0, 0)
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert set(server.paid.values()) == {1}


def test_a_line_without_a_result_is_asked_again_and_counts_as_perhaps_paid(tmp_path: Path) -> None:
    server = BatchServer(course=lambda n: Course(forgets=2 if n == 1 else 0))
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert len(server.bodies[1]) == 2
    assert summary.maybe_paid == 2


def test_many_requests_are_split_and_too_large_a_file_is_halved(tmp_path: Path) -> None:
    server = BatchServer()
    with served(server) as url:
        outcomes, *_ = ask(url, tmp_path / "l", batching=replace(QUICK, most_requests=5))
        assert all_answered(outcomes)
        assert sorted(len(batch) for batch in server.bodies) == [2, 5, 5]
    with served(server := BatchServer()) as url:
        outcomes, *_ = ask(url, tmp_path / "m", batching=replace(QUICK, most_bytes=2_000))
        assert all_answered(outcomes)
        assert len(server.batches) > 3
        assert all(len(data) <= 2_000 for name, data in server.files.items() if name.startswith("file-"))

    def too_large(call: str, times: int) -> Reply | None:
        return refusal("The file is too large", 413) if call == "file" and times == 1 else None

    with served(server := BatchServer(fault=too_large)) as url:
        outcomes, *_ = ask(url, tmp_path / "n")
        assert all_answered(outcomes)
        assert 6 in [len(batch) for batch in server.bodies]


def test_no_room_for_a_batch_is_waited_for_with_fewer_requests(tmp_path: Path) -> None:
    said = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m.", "line": None}
    crowded = Course("failed", errors=[said])
    server = BatchServer(course=lambda n: crowded if n == 1 else Course())
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert [len(batch) for batch in server.bodies] == [COUNT, 6, 6]
    assert summary.maybe_paid == summary.dead == 0

    def limited(call: str, times: int) -> Reply | None:
        return (
            Reply(429, {"error": {"message": "Too many batches"}}) if call == "make" and times < 3 else None
        )

    with served(server := BatchServer(fault=limited)) as url:
        outcomes, *_ = ask(url, tmp_path / "m")
        assert all_answered(outcomes)
        assert set(server.paid.values()) == {1}


def test_a_failed_batch_names_its_request_or_ends_the_run(tmp_path: Path) -> None:
    bad = {"code": "invalid_request", "message": "Invalid 'temperature'.", "line": 3, "param": "body"}
    server = BatchServer(course=lambda n: Course("failed", errors=[bad]) if n == 1 else Course())
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
        assert error is None
        assert [o.error.kind for o in outcomes if o.error] == ["refused"]
        assert (summary.answered, summary.dead) == (COUNT - 1, 1)
        assert len(server.bodies[1]) == COUNT - 1
    model = {
        "code": "model_not_found",
        "message": "The provided model 'm' is not supported by the Batch API.",
    }
    with served(BatchServer(course=lambda n: Course("failed", errors=[model]))) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "m")
    assert isinstance(error, Misconfigured)
    assert "is not supported by the Batch API" in str(error)
    assert (summary.answered, summary.dead, summary.batched) == (0, 0, 0)


@pytest.mark.parametrize("call", ["file", "make"])
def test_an_endpoint_without_batches_says_so_and_names_the_mend(call: str, tmp_path: Path) -> None:
    server = BatchServer(fault=lambda c, _: Reply(404, {"detail": "Not Found"}) if c == call else None)
    with served(server) as url:
        _, summary, error, _ = ask(url, tmp_path / "l")
    assert isinstance(error, Misconfigured)
    assert "has no batch API" in str(error)
    assert "batch = false" in str(error)
    assert (summary.dead, summary.batched, summary.maybe_paid) == (0, 0, 0)


def test_metadata_and_window_are_left_out_where_they_are_refused(tmp_path: Path) -> None:
    def fault(call: str, times: int) -> Reply | None:
        return refusal("Unknown field: metadata") if call == "make" and times == 1 else None

    with served(server := BatchServer(fault=fault)) as url:
        outcomes, *_ = ask(url, tmp_path / "l")
    assert all_answered(outcomes)
    assert [batch["metadata"] for batch in server.batches.values()] == [None]


@pytest.mark.parametrize("call", ["file", "make", "look", "content"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_of_any_call_are_waited_out(call: str, status: int, tmp_path: Path) -> None:
    server = BatchServer(
        fault=lambda c, times: (
            Reply(status, {"error": {"message": "hm"}}) if c == call and times < 3 else None
        )
    )
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert set(server.paid.values()) == {1}
    assert summary.maybe_paid == 0


def test_an_answer_that_never_came_to_the_making_is_looked_for_and_not_made_twice(tmp_path: Path) -> None:
    """The batch is made, its answer is lost: by metadata, or by its file where metadata is not kept."""
    for keeps in (True, False):

        def lost(call: str, times: int) -> None:
            if call == "make" and times == 1:
                raise ConnectionResetError

        server = BatchServer(after=lost, keeps_metadata=keeps, page=1)
        with served(server) as url:
            outcomes, _, error, _ = ask(url, tmp_path / f"l{keeps}")
        assert error is None
        assert all_answered(outcomes)
        assert len(server.batches) == 1
        assert set(server.paid.values()) == {1}


def test_an_endpoint_that_is_away_while_a_batch_runs_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    away = [True]
    server = BatchServer(fault=lambda c, _: Reply(502, b"bad gateway") if c == "look" and away[0] else None)
    with served(server) as url:
        _, summary, error, _ = ask(url, tmp_path / "l", limits=replace(PATIENT, total_timeout=0.2))
        assert "cannot be reached" in str(error)
        assert (summary.batched, summary.dead, summary.maybe_paid) == (COUNT, 0, 0)
        with Ledger(tmp_path / "l") as ledger:
            (batch,) = ledger.batches()
        assert (batch.remote, batch.left) == ("batch_1", COUNT)
        away[0] = False
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert all_answered(outcomes)
    assert len(server.batches) == 1
    assert summary.attempts == COUNT


def test_batches_are_not_asked_past_and_can_be_given_up(tmp_path: Path) -> None:
    away = [True]
    server = BatchServer(fault=lambda c, _: Reply(502, b"bad gateway") if c == "look" and away[0] else None)
    with served(server) as url:
        ask(url, tmp_path / "l", limits=replace(PATIENT, total_timeout=0.2))
        _, _, error, _ = ask(url, tmp_path / "l", batching=None)
        assert "set batch = true" in str(error)
        assert not server.asked_alone
        with Ledger(tmp_path / "l") as ledger:
            assert ledger.summary().batched == COUNT
            assert ledger.forget_batches() == COUNT
            summary = ledger.summary()
            assert (summary.batched, summary.open, summary.maybe_paid, summary.lost) == (
                0,
                COUNT,
                COUNT,
                COUNT,
            )
        outcomes, _, error, _ = ask(url, tmp_path / "l", batching=None)
    assert error is None
    assert all_answered(outcomes)
    assert len(server.asked_alone) == COUNT


def test_a_cap_on_money_is_kept_before_a_batch_is_sent(tmp_path: Path) -> None:
    price = Price(1.0, 2.0)
    with served(server := BatchServer()) as url:
        _, summary, error, _ = ask(url, tmp_path / "l", budget=Budget(max_cost=0.0015, price=price))
        assert "max_cost = 0.0015 is used up" in str(error)
        assert 0 < summary.answered < COUNT
        assert summary.cost <= 0.0015
        first = len(server.bodies[0])
        assert first == summary.answered or len(server.bodies) > 1
        outcomes, summary, error, _ = ask(url, tmp_path / "l", budget=Budget(max_cost=1.0, price=price))
    assert error is None
    assert all_answered(outcomes)
    assert set(server.paid.values()) == {1}


def test_a_flagged_request_is_dead_alone_and_a_refusal_of_all_ends_the_run(tmp_path: Path) -> None:
    with served(BatchServer(moods.flags_one_prompt)) as url:
        _, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert (summary.answered, summary.dead) == (COUNT - 1, 1)
    with served(BatchServer(lambda visit: refusal("no such thing here"))) as url:
        _, summary, error, _ = ask(url, tmp_path / "m")
    assert "one request after another" in str(error)
    assert (summary.answered, summary.dead, summary.open) == (0, 0, COUNT)


def test_several_choices_a_request_come_back_together(tmp_path: Path) -> None:
    def behave(visit: Visit) -> Reply:
        whole = completion(content(visit))
        whole["choices"] = [whole["choices"][0] | {"index": i} for i in range(visit.body["n"])]
        return Reply(body=whole)

    with served(BatchServer(behave)) as url:
        outcomes, _, error, _ = ask(url, tmp_path / "l", n=2)
    assert error is None
    assert all(len(o.value or ()) == 2 for o in outcomes)


def test_a_list_of_batches_is_read_no_further_than_the_batch_is_old() -> None:
    """Of an account with thousands of batches, those from before are not paged through."""
    server = BatchServer(page=2)
    for number in range(50):
        age = 10 * 86_400 if number < 40 else 0
        server.batches[f"old_{number}"] = {
            "id": f"old_{number}", "created_at": int(time.time()) - age, "input_file_id": "x", "status": "x",
        }  # fmt: skip

    async def main(url: str) -> str | None:
        llm = OpenAIBatches(url, api_key_env=None)
        found = await llm.find_batch("file-9", "mark", time.time())
        await llm.aclose()
        return found

    with served(server) as url:
        assert asyncio.run(main(url)) is None
    assert server.calls["list"] == 6
    assert json.dumps(server.paid) == "{}"
