"""Hosts with ways of their own: what their words come to, and batch APIs that are copied with differences."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hosts
import natives
import pytest
from aiohttp import web
from coats import events
from natives import makes_its_answers_behind_a_number, sends_on_to_what_it_makes
from stub_batches import BatchServer, served
from synalign_adapters._bodies import parsed
from synalign_adapters._faults import Blame, error_for
from synalign_adapters._options.learnt import Options
from synalign_adapters._options.naming import own_words
from synalign_adapters.batches import OpenAIBatches
from synalign_adapters.openai import OpenAIChat
from test_batches import COUNT, ask
from test_zoo import QUICK, jobs, visit_cage
from zoo import SCHEMA, Cage, Reply, Visit, completion, good

from synalign_jax.llm.protocol import ChatRequest, ChatResponse, LLMError, Message, Misconfigured, Refused

REQUEST = ChatRequest(
    (Message("system", "You write."), Message("user", "Write.")),
    "m",
    3000,
    0.7,
    0.95,
    1,
    ("\n\n",),
    2,
    True,
    SCHEMA,
    extra={"effort": "low"},
)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("name", hosts.WORDS)
def test_the_words_of_hosts_are_understood(name: str, answered: bool) -> None:
    """Also behind answers, after which a 403 or 404 could be of the one request."""
    status, _, expected = hosts.WORDS[name]
    text = hosts.body_of(hosts.WORDS[name])
    value = parsed(text)
    error = error_for(status, value, text, {}, Blame("http://host", "m", "the key was refused", answered))
    plain, lesson = Options(), Options()
    if isinstance(error, Refused):
        sent = plain.body(REQUEST, "off", 0)
        too_long = error.why == "too_long"
        lesson = plain.after(sent, own_words(text, value), value, limit_only=too_long)
    if lesson == plain:
        why = getattr(error, "why", "") or (f"{error.retry_after:g}" if error.retry_after else "")
        assert f"{error.kind} {why}".strip() == expected
    elif lesson.most is not None:
        assert f"at most {lesson.most}" == expected
    elif not lesson.system:
        assert expected == "system"
    elif lesson.format:
        assert expected == "format"
    elif lesson.stream is not None:
        assert expected == "stream"
    else:
        assert lesson.without == {expected}


LEFT = "x-ratelimit-remaining"
RESET = "x-ratelimit-reset"
MANY = {f"{LEFT}-requests": "9", f"{RESET}-requests": "6h"}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({LEFT: "0", RESET: "12"}, 12),
        ({f"{LEFT}-tokens": "0", f"{RESET}-tokens": "1m3s"}, 63),
        (MANY | {f"{LEFT}-tokens": "0", f"{RESET}-tokens": "2s"}, 2),
        (MANY, None),  # there is too little of something else
        ({RESET: "4"}, 4),  # Together
        ({"Retry-After": "3", LEFT: "0", RESET: "12"}, 3),
    ],
)
def test_a_429_that_has_only_quota_headers_waits_for_their_reset(headers: dict, wait: float | None) -> None:
    blame = Blame("http://host", "m", "the key was refused", True)
    assert error_for(429, None, "", headers, blame).retry_after == wait


def test_free_text_whose_stream_has_its_mark_and_no_reason_is_whole() -> None:
    chunk = {"choices": [{"delta": {"content": "Once upon"}}]}

    async def main() -> ChatResponse:
        async with Cage(lambda visit: events(chunk)) as url:
            llm = OpenAIChat(url, api_key_env=None)
            answer = await llm.complete(ChatRequest((Message("user", "Write."),), "m"))
            await llm.aclose()
            return answer

    answer = asyncio.run(main())
    assert (answer.text, answer.choices[0].finish_reason) == ("Once upon", "stop")


class InAnEnvelope(BatchServer):
    """Together: what is made stands in an envelope, and the list in none; the first answer is lost."""

    def _done(self, call: str, value):
        if call == "make" and self.calls["make"] == 1:
            return web.Response(status=502)
        return super()._done(call, {"job": value} if call == "make" else value.get("data", value))


def test_a_batch_in_an_envelope_is_found_in_a_list_without_one(tmp_path: Path) -> None:
    server = InAnEnvelope()
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert (summary.answered, summary.dead, len(outcomes)) == (COUNT, 0, COUNT)
    assert set(server.paid.values()) == {1}


def test_a_file_that_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    """Azure."""

    def fault(call: str, times: int) -> Reply | None:
        said = "The file file-1 is in the pending state and still being processed."
        return Reply(400, {"error": {"message": said}}) if call == "make" and times < 3 else None

    server = BatchServer(fault=fault)
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert (summary.answered, len(outcomes)) == (COUNT, COUNT)
    assert set(server.paid.values()) == {1}


def test_the_route_is_of_the_version_that_the_address_names() -> None:
    """Zhipu: api/paas/v4."""
    request = jobs(1)[0].request
    for base, route in [
        ("https://host/api/paas/v4", "/v4/chat/completions"),
        ("https://host/v1beta/openai", "/v1/chat/completions"),
        ("https://host/compatible-mode/v1", "/v1/chat/completions"),
    ]:
        assert OpenAIBatches(base, api_key_env=None).route(request) == route


@pytest.mark.parametrize("name", natives.QUEUES)
def test_a_job_in_a_queue_ends_the_run_and_the_address_of_the_protocol_is_named(
    name: str, tmp_path: Path
) -> None:
    one = replace(QUICK, concurrency=1)
    _, summary, cage, error, _ = visit_cage(natives.QUEUES[name], tmp_path / "l", limits=one)
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


async def _refused(behave: Callable[[Visit], Reply], why: str) -> None:
    async with Cage(behave) as url:
        llm = OpenAIChat(url, api_key_env=None)
        with pytest.raises(LLMError, match=why):
            await llm.complete(jobs(1)[0].request)
        await llm.aclose()


def test_ping_pong_ends() -> None:
    def behave(visit: Visit) -> Reply:
        return Reply(307, b"", {"Location": "/v1/b" if visit.path.endswith("a") else "/v1/a"})

    asyncio.run(_refused(behave, "a redirect"))


def test_what_is_fetched_may_be_a_refusal() -> None:
    def behave(visit: Visit) -> Reply:
        if visit.method == "POST":
            return Reply(303, b"", {"Location": "/v1/x"})
        return Reply(400, completion("") | {"error": {"message": "content_filter"}})

    asyncio.run(_refused(behave, "content_filter"))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_lacks_its_end_may_be_whole(chunked: bool) -> None:
    """The connection is closed too early, behind all that counts; or the length is wrong."""
    body = json.dumps(completion('{"texts": ["a tale of two"]}')).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    plain = head + b"Content-Length: %d\r\n\r\n%s" % (len(body) + 9, body)
    parts = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(parts if chunked else plain)
        await writer.drain()
        writer.close()

    async def main() -> str:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            llm = OpenAIChat(f"http://{host}:{port}/v1", api_key_env=None)
            answer = await llm.complete(jobs(1)[0].request)
            await llm.aclose()
            return answer.text

    assert "a tale of two" in asyncio.run(main())


def test_a_body_of_another_encoding_is_read_by_what_it_says() -> None:
    """Not with signs in the place of letters."""

    async def text_of(encoding: str, kind: str) -> str:
        body = json.dumps(completion('{"texts": ["größer"]}'), ensure_ascii=False).encode(encoding)
        async with Cage(lambda visit: Reply(body=body, kind=kind)) as url:
            llm = OpenAIChat(url, api_key_env=None)
            answer = await llm.complete(jobs(1)[0].request)
            await llm.aclose()
            return answer.text

    for encoding, kind in [
        ("latin-1", "application/json; charset=ISO-8859-1"),
        ("utf-16", "application/json"),
        ("utf-8", "application/json; charset=nonsense"),
    ]:
        assert "größer" in asyncio.run(text_of(encoding, kind))
