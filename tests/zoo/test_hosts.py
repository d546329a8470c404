"""Hosts with ways of their own: what their words come to, and batch APIs that are copied with differences."""

import asyncio
from pathlib import Path

import hosts
import pytest
from aiohttp import web
from coats import events
from stub_batches import BatchServer, served
from synalign_adapters._bodies import parsed
from synalign_adapters._faults import Blame, error_for
from synalign_adapters._options.learnt import Options
from synalign_adapters._options.naming import own_words
from synalign_adapters.batches import OpenAIBatches
from synalign_adapters.openai import OpenAIChat
from test_batches import COUNT, ask
from test_zoo import jobs
from zoo import SCHEMA, Cage, Reply

from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Message, Refused

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
