"""Every behaviour of the zoo through adapter and driver: nothing paid for is lost, nothing asked twice."""

import asyncio
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import coats  # noqa: F401 - they fill the zoo
import gateways  # noqa: F401
import hosts  # noqa: F401
import moods
import natives  # noqa: F401
import options
import pytest
from synalign_adapters.openai import OpenAIChat
from zoo import SCHEMA, SOUND, Behaviour, Cage, Reply, Visit, completion, content, good

from synalign_jax.llm.driver import Job, Limits, Outcome, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, LLMError, Message, RateLimited
from synalign_jax.llm.records import Summary

QUICK = Limits(concurrency=8, first_wait=0.02, longest_wait=0.2, attempt_timeout=5.0, total_timeout=20.0)
# Answers a prompt that are paid for and none by the server's doing: empty, thoughts alone, broken; and, where
# a refusal names nothing, one of 16 tokens that shows that it is not the prompt.
IN_VAIN = {"wants_turns": 1, "spends_its_tokens_on_reasoning": 1, "streams_an_error_in_the_middle_once": 1}
IN_VAIN |= {
    "provider_error_in_a_choice_once": 1,
    "error_as_text_with_200_once": 1,
    "says_nothing_at_first": 1,
}
IN_VAIN |= {"breaks_one_answer_off": 1}
IN_VAIN |= {"refuses_with_200": 1}  # the stub counts every status 200
IN_VAIN |= {name: 2 for name in SOUND if name.endswith("without_a_word")}


def jobs(count: int = 8) -> list[Job]:
    system = Message("system", "You write.")
    asked = ChatRequest((), "m", max_tokens=300, temperature=0.7, top_p=0.95, seed=1, schema=SCHEMA)
    extra = {"reasoning_effort": "low"}
    return [
        Job(replace(asked, messages=(system, Message("user", f"Write about {i}.")), extra=extra), i)
        for i in range(count)
    ]


def texts_of(outcome: Outcome) -> list[str]:
    assert outcome.value is not None
    return outcome.value["texts"]


def visit_cage(
    behaviour: Behaviour, path: Path, *, limits: Limits = QUICK, count: int = 8, **settings
) -> tuple[list[Outcome], Summary, Cage, LLMError | None, list[str]]:
    """All outcomes of one run against the behaviour, and what was warned of."""

    async def main() -> tuple[list[Outcome], Summary, Cage, LLMError | None]:
        cage = Cage(behaviour)
        async with cage as url:
            given: Any = {"api_key_env": None} | settings
            llm = OpenAIChat(url, endpoint="the zoo", **given)
            outcomes, error = [], None
            with Ledger(path) as ledger:
                try:
                    async for outcome in stream(llm, jobs(count), ledger=ledger, limits=limits):
                        outcomes.append(outcome)
                except LLMError as stopped:
                    error = stopped
                await llm.aclose()
                return outcomes, ledger.summary(), cage, error

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        outcomes, summary, cage, error = asyncio.run(asyncio.wait_for(main(), 300))
    return outcomes, summary, cage, error, [str(w.message) for w in heard]


@pytest.mark.parametrize("name", SOUND)
def test_over_the_whole_zoo_nothing_is_lost_nothing_dies_and_nothing_is_asked_again(
    name: str, tmp_path: Path
) -> None:
    """Answers paid for and usable but not used: 0. Requests dead though the server would have answered: 0.
    A restart after it asks nothing again."""
    outcomes, summary, cage, error, said = visit_cage(SOUND[name], tmp_path / "l")
    assert error is None
    dead = [o.error for o in outcomes if o.error]
    assert (dead, summary.dead, summary.answered) == ([], 0, 8)
    for outcome in outcomes:
        assert texts_of(outcome)
        assert all(isinstance(text, str) and "tale of" in text for text in texts_of(outcome))
    tried = cage.paid.pop("Answer with a short JSON object, please.", 0)  # options, 16 tokens each
    assert tried <= (8 if name.endswith("without_a_word") else 0)
    unused = {p: paid - 1 for p, paid in cage.paid.items() if paid - 1 > IN_VAIN.get(name, 0)}
    assert unused == {}
    assert len(said) == len(set(said))  # said once, however many were in flight
    # The next start asks nothing again, and a new request learns nothing again.
    again, summary, cage, error, said = visit_cage(SOUND[name], tmp_path / "l", count=9)
    assert error is None
    assert sum(o.cached for o in again) == 8
    assert [o.value for o in sorted(again, key=lambda o: o.job.tag)][:8] == [
        o.value for o in sorted(outcomes, key=lambda o: o.job.tag)
    ]
    assert set(cage.paid) <= {"Write about 8."}
    assert (summary.answered, summary.dead) == (9, 0)
    assert not said
    if name in vars(options):  # what is refused there is an option, and known by now
        expected = 2 if name == "wants_turns" else 1
        assert len(cage.state.bodies) == expected


@pytest.mark.parametrize("name", moods.ONE_PROMPT)
def test_a_refusal_of_one_prompt_ends_that_request_alone(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        outcomes, summary, cage, error, _ = visit_cage(moods.ONE_PROMPT[name], tmp_path / "l")
        assert error is None
        assert len(cage.state.bodies) <= 8  # asked once, and no option is looked for
        assert len(outcomes) == 8
        assert [o.error.kind for o in outcomes if o.error] == ["refused"]
        assert (summary.answered, summary.dead) == (7, 1)


@pytest.mark.parametrize("name", moods.ALL_PROMPTS)
def test_a_refusal_of_all_ends_the_run_with_a_sentence_and_buries_nothing(name: str, tmp_path: Path) -> None:
    behaviour, words = moods.ALL_PROMPTS[name]
    limits = replace(QUICK, max_attempts=3)
    _, summary, _, error, _ = visit_cage(behaviour, tmp_path / "l", limits=limits, count=40)
    assert error is not None
    assert words in str(error)
    assert "nothing has answered" not in str(error)
    assert summary.dead == 0
    outcomes, _, _, error, _ = visit_cage(good, tmp_path / "l", count=40)  # mended, the run goes on
    assert error is None
    assert all(o.response for o in outcomes)


def test_a_quota_that_is_empty_for_hours_stops_the_run_after_the_answer(tmp_path: Path) -> None:
    def behave(visit: Visit):
        reply = good(visit)
        left = 4 - len(visit.state.bodies)
        reply.headers = {"x-ratelimit-remaining-requests": str(left), "x-ratelimit-reset-requests": "6h0m0s"}
        return reply

    limits = replace(QUICK, concurrency=1)
    outcomes, summary, _, error, _ = visit_cage(behave, tmp_path / "l", limits=limits, count=6)
    assert len(outcomes) == summary.answered == 5
    assert isinstance(error, RateLimited)
    assert "21600 s, longer than total_timeout" in str(error)


def test_a_header_by_name_opens_azure(tmp_path: Path) -> None:
    behaviour = moods.wants_the_key_elsewhere
    *_, error, _ = visit_cage(behaviour, tmp_path / "l")
    assert "no key was sent" in str(error)
    outcomes, *_ = visit_cage(behaviour, tmp_path / "l", headers={"api-key": "right"})
    assert all(o.response for o in outcomes)


def test_rows_are_never_altered_by_a_precaution(tmp_path: Path) -> None:
    """A key that is a word, and the words of an address, are left alone in answers."""

    def behave(visit: Visit):
        text = content(visit).replace("tale", "tale of anything and preview")
        return replace(good(visit), body=completion(text))

    async def main() -> list[Outcome]:
        async with Cage(behave) as url:
            llm = OpenAIChat(f"{url}?api-version=preview", api_key="anything")
            with Ledger(tmp_path / "l") as ledger:
                found = [o async for o in stream(llm, jobs(), ledger=ledger, limits=QUICK)]
            await llm.aclose()
            return found

    for outcome in asyncio.run(main()):
        assert all("of anything and preview of" in text for text in texts_of(outcome))


KEY = "sk-0123456789abcdef-planted"


@pytest.mark.parametrize("rejected", [False, True])
def test_an_answer_that_repeats_a_key_is_used_as_it_is_and_errors_never_show_it(
    rejected: bool, tmp_path: Path
) -> None:
    """Also where the answer comes inside an error, which is redacted."""

    def behave(visit: Visit) -> Reply:
        text = content(visit).replace("tale", f"tale of {KEY}")
        if moods.is_first(visit):
            return Reply(400, {"error": {"message": f"no such input for {KEY}"}})
        if rejected:
            error = {"message": f"json_validate_failed for {KEY}", "failed_generation": text}
            return Reply(400, {"error": error})
        return Reply(body=completion(text))

    outcomes, summary, _, error, said = visit_cage(behave, tmp_path / "l", api_key=KEY)
    assert error is None
    assert (summary.answered, summary.dead) == (7, 1)
    for outcome in outcomes:
        if outcome.error is None:
            assert all(f"tale of {KEY} of" in text for text in texts_of(outcome))
        else:
            assert "no such input for [secret]" in str(outcome.error)
            assert KEY not in f"{outcome.error} {outcome.error.raw}"
    assert KEY not in "".join(said)
