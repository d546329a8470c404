"""The OpenAI-compatible adapter: one request in, one response or one error of the protocol out."""

import asyncio
import json
import shutil
import ssl
import subprocess
import warnings
from pathlib import Path

import pytest
from stub_endpoint import Stub
from synalign_adapters.openai import OpenAIChat

from synalign_jax.llm.protocol import (
    LLM,
    ChatRequest,
    LLMError,
    Loading,
    Message,
    Misconfigured,
    Overloaded,
    Quota,
    RateLimited,
    Refused,
    ServerError,
    Timeout,
    Unreachable,
    Unsupported,
    Usage,
)

HELLO = ChatRequest((Message("system", "be brief"), Message("user", "hello")), "m")


class Raw:
    """A server that sends the bytes given, whatever it is asked; keeps what it was sent."""

    def __init__(self, *parts: bytes | float, context: ssl.SSLContext | None = None) -> None:
        self.parts, self.context = parts, context
        self.heard: list[bytes] = []
        self.serving: list[tuple] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append((asyncio.current_task(), writer))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.heard.append(head + await reader.readexactly(length))
        for part in self.parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)
        writer.close()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task, writer in self.serving:
            task.cancel()
            writer.close()
        await asyncio.gather(*(task for task, _ in self.serving), return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport is gone one turn of the loop later


def http(body: object, status: int = 200, headers: str = "", kind: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return head.encode() + data


def completion(content: object = "hi", **choice) -> dict:
    return {
        "choices": [{"message": {"content": content}, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        "model": "m-1",
    }


def ask(*parts: bytes | float, request: ChatRequest = HELLO, path: str = "/v1", **options):
    """The answer or the error of one request to a server that sends `parts`, and what it was sent."""
    raw = Raw(*parts)

    async def main():
        async with raw as url:
            llm = OpenAIChat(url + path, **({"api_key_env": None} | options))
            try:
                return await llm.complete(request)
            except LLMError as error:
                return error
            finally:
                await llm.aclose()

    return asyncio.run(main()), raw.heard


def test_it_satisfies_the_protocol() -> None:
    assert isinstance(OpenAIChat("http://127.0.0.1:1"), LLM)


def test_a_request_becomes_json_and_its_answer_a_response() -> None:
    request = ChatRequest(
        HELLO.messages,
        "m",
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=("\n",),
        n=2,
        logprobs=True,
        schema={"type": "object"},
        extra={"top_k": 5},
        idempotency_key="key-0",
    )
    logprobs = {"content": [{"token": "h", "logprob": -0.5}, {"token": "i", "logprob": -1.0}]}
    made = completion(logprobs=logprobs)
    made["choices"] *= 2
    response, (heard,) = ask(http(made), request=request)
    assert (response.text, response.usage, response.model) == ("hi", Usage(3, 2), "m-1")
    assert response.choices[0].logprobs == (-0.5, -1.0)
    head, body = heard.split(b"\r\n\r\n")
    assert b"POST /v1/chat/completions" in head
    assert b"Idempotency-Key: key-0" in head
    assert b"Authorization" not in head
    assert json.loads(body) == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["\n"],
        "n": 2,
        "logprobs": True,
        "stream": False,
        "top_k": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
        },
    }


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("http://h:1/v1/v1", "http://h:1/v1"),
        ("https://h/v1/chat/completions", "https://h/v1"),
        ("https://h/api/v3", "https://h/api/v3"),
        ("https://h/v1beta/openai/", "https://h/v1beta/openai"),
        ("https://user:secret@h/v1?api-key=secret", "https://h/v1"),
        ("http://[::1]:8/v1", "http://[::1]:8/v1"),
    ],
)
def test_the_usual_spellings_of_an_address_are_understood(given: str, endpoint: str) -> None:
    assert OpenAIChat(given, api_key_env=None).endpoint == endpoint


@pytest.mark.parametrize(
    "given", ["127.0.0.1:8000/v1", "localhost", "ftp://h/v1", "http://", "", "http://h:x/v1"]
)
def test_an_address_without_scheme_or_host_is_named(given: str) -> None:
    with pytest.raises(Misconfigured, match="base_url"):
        OpenAIChat(given)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"message": "context length exceeded"}}, Refused),
        (401, {"error": {"message": "bad key"}}, Misconfigured),
        (402, {"error": {"message": "pay"}}, Misconfigured),
        (403, {"error": {"message": "no"}}, Misconfigured),
        (404, {"error": {"message": "no such model"}}, Misconfigured),
        (400, {"error": {"message": "no such model", "code": "model_not_found"}}, Misconfigured),
        (429, {"error": {"message": "slow"}}, RateLimited),
        (429, {"error": {"message": "no credit", "code": "insufficient_quota"}}, Misconfigured),
        (500, b"oops", ServerError),
        (502, b"<html>", ServerError),
        (503, {"detail": "loading"}, Loading),
        (503, {"detail": "busy"}, Overloaded),
        (529, {"error": "overloaded"}, Overloaded),
        (308, b"", Misconfigured),
        (200, {"error": {"message": "upstream", "code": 429}}, RateLimited),
        (200, {"error": {"message": "upstream"}}, ServerError),
        (200, {"choices": []}, ServerError),
        (200, {"choices": [{"message": {"content": 7}}]}, ServerError),
        (200, {"choices": [{"message": {"content": None, "refusal": "no"}}]}, Refused),
        (200, [], ServerError),
        (200, b"", ServerError),
        (200, b"null", ServerError),
        (200, b'{"choices": [', ServerError),
        (200, b"[" * 100_000, ServerError),
    ],
)
def test_what_goes_wrong_has_its_kind(status: int, body: object, error: type) -> None:
    answer, _ = ask(http(body, status))
    assert type(answer) is error


def test_an_unknown_model_is_named() -> None:
    with Stub(model="other") as stub:
        llm = OpenAIChat(stub.url, api_key_env=None)

        async def main() -> None:
            try:
                await llm.complete(HELLO)
            finally:
                await llm.aclose()

        with pytest.raises(Misconfigured, match=r"no such model.*model name 'm'"):
            asyncio.run(main())


def test_a_wrong_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-planted")
    answer, (heard,) = ask(http({"error": {"message": "wrong key sk-planted"}}, 401), api_key_env="MY_KEY")
    assert b"Authorization: Bearer sk-planted" in heard
    assert "the key in $MY_KEY was refused" in str(answer)
    assert "sk-planted" not in str(answer) + str(answer.raw)
    monkeypatch.delenv("MY_KEY")
    answer, _ = ask(http({"error": {"message": "no key"}}, 401), api_key_env="MY_KEY")
    assert "no key was sent; set $MY_KEY" in str(answer)


def test_a_key_that_http_forbids_is_said_without_showing_it() -> None:
    with pytest.raises(Misconfigured, match="Authorization") as caught:
        OpenAIChat("http://h", api_key="sk\nplanted")
    assert "planted" not in str(caught.value)


def test_retry_after_is_read_as_seconds_milliseconds_and_date() -> None:
    assert ask(http({}, 429, "Retry-After: 7\r\n"))[0].retry_after == 7
    assert ask(http({}, 429, "retry-after-ms: 1500\r\n"))[0].retry_after == 1.5
    date = "Retry-After: Wed, 21 Oct 2999 07:28:00 GMT\r\n"
    assert ask(http({}, 503, date))[0].retry_after > 1e9
    assert ask(http({}, 429, "Retry-After: soon\r\n"))[0].retry_after is None
    assert ask(http({}, 429))[0].retry_after is None


def test_rate_limit_headers_are_read() -> None:
    headers = (
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0.5s\r\n"
        "x-ratelimit-remaining-tokens: 12\r\nx-ratelimit-reset-tokens: 20ms\r\n"
    )
    assert ask(http(completion(), headers=headers))[0].quota == Quota(0, 360.5, 12, 0.02)
    drafted = "ratelimit-remaining: 3\r\nratelimit-reset: 9\r\n"
    assert ask(http(completion(), headers=drafted))[0].quota == Quota(3, 9.0, None, 0.0)
    odd = "x-ratelimit-remaining-requests: many\r\nx-ratelimit-reset-requests: tomorrow\r\n"
    assert ask(http(completion(), headers=odd))[0].quota == Quota(None, 0.0, None, 0.0)


def test_missing_usage_is_counted_from_above() -> None:
    answer, _ = ask(http({"choices": [{"message": {"content": "four"}}]}))
    assert answer.usage == Usage(len("be brief" + "hello"), 4)


def test_an_answer_of_ten_megabytes_is_refused_unread() -> None:
    answer, _ = ask(http(completion("x" * 10_000_000)))
    assert isinstance(answer, ServerError)
    assert "longer than 4000000 bytes" in str(answer)
    assert len(answer.raw) <= 2_000
    answer, _ = ask(http(completion("x" * 10_000_000)), max_bytes=20_000_000)
    assert len(answer.text) == 10_000_000


def test_odd_characters_pass_through() -> None:
    answer, _ = ask(http(completion("a\0b\ud800")))
    assert answer.text == "a\0b\ud800"  # the driver cleans, for every adapter alike
    answer, _ = ask(http(b'{"choices": [{"message": {"content": "\xff"}}]}'))
    assert answer.text == "�"
    request = ChatRequest((Message("user", "lone \ud800 here"),), "m")
    _, (heard,) = ask(http(completion()), request=request)
    assert b"lone \\ud800 here" in heard


STREAMED = [
    {"model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant"}}]},
    {"choices": [{"index": 0, "delta": {"content": "hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo é"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]
LONG = ChatRequest(HELLO.messages, "m", max_tokens=4096)
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def test_long_answers_are_streamed_and_joined() -> None:
    data = b": ping\n\n" + b"".join(
        b"data: " + json.dumps(p, ensure_ascii=False).encode() + b"\n\n" for p in STREAMED
    )
    data += b"data: [DONE]\n\n"
    pieces = [data[i : i + 7] for i in range(0, len(data), 7)]  # cut through lines and characters
    answer, (heard,) = ask(EVENTS, *pieces, request=LONG)
    assert (answer.text, answer.usage, answer.model) == ("hello é", Usage(3, 2), "m-1")
    assert answer.choices[0].finish_reason == "stop"
    assert json.loads(heard.split(b"\r\n\r\n")[1])["stream"] is True


def test_a_stream_that_stalls_is_left_after_the_idle_timeout() -> None:
    answer, _ = ask(EVENTS, b'data: {"choices": []}\n\n', 30.0, request=LONG, idle_timeout=0.1)
    assert isinstance(answer, Timeout)
    assert answer.paid


def test_a_stream_that_breaks_off_or_reports_an_error_is_no_answer() -> None:
    answer, _ = ask(EVENTS, b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n', request=LONG)
    assert isinstance(answer, ServerError)
    assert "broke off" in str(answer)
    answer, _ = ask(EVENTS, b'data: {"error": {"message": "busy", "code": 503}}\n\n', request=LONG)
    assert isinstance(answer, Overloaded)


def test_a_server_without_json_schemas_is_asked_in_words_and_says_so_once() -> None:
    with Stub(schema=False) as stub:
        llm = OpenAIChat(stub.url, api_key_env=None)
        request = ChatRequest((Message("user", "hello"),), "m", schema={"type": "object"})

        async def main() -> str:
            with pytest.warns(UserWarning, match="refuses JSON schemas") as heard, pytest.raises(Unsupported):
                await llm.complete(request)
            assert len(heard) == 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                answer = await llm.complete(request)
            await llm.aclose()
            return answer.text

        assert 'fits this JSON schema: {\\"type\\": \\"object\\"}' in asyncio.run(main())


def test_a_server_that_wants_max_completion_tokens_gets_them() -> None:
    said = {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead"}}
    raw = Raw(http(said, 400, "Connection: close\r\n"))

    async def main() -> None:
        async with raw as url:
            llm = OpenAIChat(url, api_key_env=None)
            with (
                pytest.warns(UserWarning, match="'max_completion_tokens' from now on"),
                pytest.raises(Unsupported),
            ):
                await llm.complete(HELLO)
            with pytest.raises(Refused):
                await llm.complete(HELLO)
            await llm.aclose()

    asyncio.run(main())
    assert [b"max_completion_tokens" in heard for heard in raw.heard] == [False, True]


def test_nobody_at_the_address_is_unreachable() -> None:
    async def main() -> None:
        async with Raw() as url:
            pass
        llm = OpenAIChat(url, api_key_env=None)
        try:
            await llm.complete(HELLO)
        finally:
            await llm.aclose()

    with pytest.raises(Unreachable, match="cannot connect: Connection refused"):
        asyncio.run(main())


def test_a_connection_that_is_closed_without_a_word_may_have_been_paid_for() -> None:
    answer, _ = ask()
    assert isinstance(answer, ServerError)
    assert answer.paid


def test_one_adapter_serves_several_event_loops() -> None:
    with Stub() as stub:
        llm = OpenAIChat(stub.url, api_key_env=None)

        async def main() -> str:
            answer = await llm.complete(HELLO)
            await llm.aclose()
            return answer.text

        assert asyncio.run(main()) == asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody vouches for, in one PEM file."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def test_a_certificate_that_nobody_vouches_for_needs_ca_file(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def main() -> None:
        async with Raw(http(completion()), context=context) as url:
            strict = OpenAIChat(url, api_key_env=None)
            with pytest.raises(Misconfigured, match=r"TLS failed.*ca_file"):
                await strict.complete(HELLO)
            await strict.aclose()
            trusting = OpenAIChat(url, api_key_env=None, ca_file=certificate)
            assert (await trusting.complete(HELLO)).text == "hi"
            await trusting.aclose()

    asyncio.run(main())


def test_a_proxy_is_used_and_its_password_stays_secret() -> None:
    raw = Raw(http({"error": {"message": "proxy says: planted-password"}}, 502))

    async def main() -> LLMError:
        async with raw as url:
            proxy = url.replace("http://", "http://me:planted-password@")
            llm = OpenAIChat("http://model.example/v1", api_key_env=None, proxy=proxy)
            with pytest.raises(ServerError) as caught:
                await llm.complete(HELLO)
            await llm.aclose()
            return caught.value

    error = asyncio.run(main())
    assert raw.heard[0].startswith(b"POST http://model.example/v1/chat/completions")
    assert b"Proxy-Authorization: Basic" in raw.heard[0]
    assert "planted" not in str(error) + str(error.raw)


def test_loopback_never_goes_through_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(http(completion()))[0].text == "hi"
