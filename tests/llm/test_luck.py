"""Bad luck is told from a request that cannot be answered."""

from pathlib import Path

from fake_endpoint import Endpoint, ask, job

from synalign_jax.llm.conversation import Failures

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
