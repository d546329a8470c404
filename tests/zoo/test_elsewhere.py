"""Answers that are had by a second call: paid for once, and the key shown to one host alone."""

import asyncio
from dataclasses import replace
from pathlib import Path

import elsewhere
import pytest
from elsewhere import makes_its_answers_behind_a_number, sends_on_to_what_it_makes
from synalign_adapters._faults import Blame, error_for
from synalign_adapters.openai import OpenAIChat
from test_zoo import QUICK, jobs, visit_cage
from zoo import Cage, Reply, Visit, completion, good

from synalign_jax.llm.protocol import ChatRequest, LLMError, Message, Misconfigured


@pytest.mark.parametrize("name", elsewhere.QUEUES)
def test_a_job_in_a_queue_ends_the_run_and_the_address_of_the_protocol_is_named(
    name: str, tmp_path: Path
) -> None:
    one = replace(QUICK, concurrency=1)
    _, summary, cage, error, _ = visit_cage(elsewhere.QUEUES[name], tmp_path / "l", limits=one)
    assert isinstance(error, Misconfigured)
    assert "https://api.runpod.ai/v2/ENDPOINT_ID/openai/v1" in str(error)
    assert (len(cage.state.bodies), summary.dead) == (1, 0)


@pytest.mark.parametrize("host", ["api.runpod.ai", "api.replicate.com"])
def test_a_host_that_knows_no_such_path_is_told_by_its_name(host: str) -> None:
    blame = Blame(f"https://{host}/v2/x", "m", "the key was refused", False, "chat/completions")
    assert f"{host} speaks OpenAI's protocol at https://" in str(error_for(404, None, "", {}, blame))


def test_an_answer_whose_making_outlasts_an_attempt_is_fetched_by_the_next(tmp_path: Path) -> None:
    """It is not paid for twice."""

    def slow(visit: Visit) -> Reply:
        reply = makes_its_answers_behind_a_number(visit)
        ready = visit.method == "GET" and reply.status == 200 and visit.state.age() > 0.5
        return reply if ready or visit.method == "POST" else Reply(202, b"", _number(visit))

    def _number(visit: Visit) -> dict[str, str]:
        return {"NVCF-REQID": visit.path.rsplit("/", 1)[-1], "Retry-After": "0.05"}

    limits = replace(QUICK, attempt_timeout=0.2)
    outcomes, _, cage, error, _ = visit_cage(slow, tmp_path / "l", limits=limits)
    assert error is None
    assert all(outcome.response for outcome in outcomes)
    assert set(cage.paid.values()) == {1}


def test_an_answer_that_is_kept_no_longer_is_asked_for_again(tmp_path: Path) -> None:
    def forgets(visit: Visit) -> Reply:
        lost = visit.method == "GET" and visit.state.notes.setdefault("lost", visit.path) == visit.path
        return Reply(404, b"gone") if lost else sends_on_to_what_it_makes(visit)

    outcomes, *_, error, _ = visit_cage(forgets, tmp_path / "l")
    assert error is None
    assert all(outcome.response for outcome in outcomes)


@pytest.mark.parametrize("status", [303, 307, 301])
def test_no_other_host_is_shown_the_key(status: int) -> None:
    async def main() -> tuple[LLMError, Cage]:
        thief = Cage(good)
        async with thief as elsewhere_url:
            location = {"Location": f"{elsewhere_url}/chat/completions?x=secret"}
            async with Cage(lambda visit: Reply(status, b"", location)) as url:
                llm = OpenAIChat(url, api_key="sk-planted")
                with pytest.raises(Misconfigured) as caught:
                    await llm.complete(jobs(1)[0].request)
                await llm.aclose()
                assert elsewhere_url in str(caught.value)
                return caught.value, thief

    error, thief = asyncio.run(main())
    assert not thief.state.bodies
    assert "secret" not in str(error)


def test_a_path_that_an_endpoint_lacks_is_no_mishap_of_a_gateway(tmp_path: Path) -> None:
    """Chats were answered before; another 404 of theirs would be tried again."""

    async def main() -> Cage:
        cage = Cage(
            lambda v: good(v) if v.path.endswith("chat/completions") else Reply(404, {"detail": "Not Found"})
        )
        async with cage as url:
            llm = OpenAIChat(url, api_key_env=None)
            await llm.complete(jobs(1)[0].request)
            with pytest.raises(Misconfigured, match="it has no /completions: it knows chats alone"):
                await llm.complete(ChatRequest((Message("user", "Once"),), "m", continues=True))
            await llm.aclose()
        return cage

    assert len(asyncio.run(main()).state.bodies) == 2


def test_ping_pong_ends() -> None:
    def behave(visit: Visit) -> Reply:
        return Reply(307, b"", {"Location": "/v1/b" if visit.path.endswith("a") else "/v1/a"})

    async def main() -> None:
        async with Cage(behave) as url:
            llm = OpenAIChat(url, api_key_env=None)
            with pytest.raises(LLMError, match="a redirect"):
                await llm.complete(jobs(1)[0].request)
            await llm.aclose()

    asyncio.run(main())


def test_what_is_fetched_may_be_a_refusal() -> None:
    def behave(visit: Visit) -> Reply:
        if visit.method == "POST":
            return Reply(303, b"", {"Location": "/v1/x"})
        return Reply(400, completion("") | {"error": {"message": "content_filter"}})

    async def main() -> None:
        async with Cage(behave) as url:
            llm = OpenAIChat(url, api_key_env=None)
            with pytest.raises(LLMError, match="content_filter"):
                await llm.complete(jobs(1)[0].request)
            await llm.aclose()

    asyncio.run(main())
