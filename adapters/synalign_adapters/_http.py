"""One POST to an OpenAI-compatible server: its JSON, or an error of the protocol that holds no secret."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
from yarl import URL

from synalign_jax.llm.protocol import (
    LLMError,
    Misconfigured,
    Overloaded,
    Quota,
    RateLimited,
    Refused,
    ServerError,
    Timeout,
    Unreachable,
)

_CALLS = re.compile(r"(?:/(?:chat/completions|completions|embeddings|models))?/*$")
_DURATION = re.compile(r"(\d+\.?\d*)(ms|s|m|h|d|)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHOWN = 300  # characters of a server's message that an error repeats


@dataclass(frozen=True, slots=True)
class Reply:
    """`value` is the parsed body; of a streamed answer, the list of its parts."""

    value: Any
    streamed: bool
    quota: Quota | None


class Http:
    """The connection to one server. Not an adapter: OpenAIChat and OpenAIEmbeddings say what to post."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        api_key_env: str | None,
        headers: Mapping[str, str] | None,
        proxy: str | None,
        ca_file: str | os.PathLike[str] | None,
        connect_timeout: float,
        idle_timeout: float | None,
        max_bytes: int,
    ) -> None:
        self.base, self._prefix, self._suffix, login = _addresses(base_url)
        key = (api_key or (os.environ.get(api_key_env, "") if api_key_env else "")).strip()
        self._key_name = "the key given as api_key" if api_key else f"the key in ${api_key_env}"
        self._no_key = (
            None if key else f"no key was sent; set ${api_key_env}" if api_key_env else "no key was sent"
        )
        self._headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **(headers or {})}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        elif login:
            self._headers["Authorization"] = login
        self._secrets = _secrets([key, login, *(headers or {}).values()], [base_url, proxy or ""])
        for name, value in self._headers.items():
            if not value.isascii() or not value.isprintable():
                raise Misconfigured(f"the header {name} holds a character that HTTP forbids; check its value")
        loopback = URL(self._prefix).host in ("127.0.0.1", "localhost", "::1")
        self._trust_env, self._proxy = proxy is None and not loopback, proxy
        self._ca_file, self._max_bytes = ca_file, max_bytes
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout, sock_read=idle_timeout
        )
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(
        self, path: str, body: Mapping[str, Any], *, model: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST `body` to `path`, which may ask for a streamed answer (server-sent events).

        Raises:
            LLMError: whatever went wrong, by its kind.
        """
        stream = bool(body.get("stream"))
        try:
            async with self._open().post(
                self._prefix + path + self._suffix,
                data=json.dumps(body).encode("ascii"),
                headers=headers,
                proxy=self._proxy,
                timeout=self._stream_timeout if stream else self._timeout,
                allow_redirects=False,
            ) as response:
                quota = _quota(response.headers)
                if response.status == 200 and stream and response.content_type == "text/event-stream":
                    return Reply(await self._events(response), True, quota)
                text = self.redact((await self._read(response)).decode("utf-8", "replace"))
                status, kind = response.status, response.content_type
                wait = _retry_after(response.headers)
        except TimeoutError as error:
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            what = "no connection" if connecting else "no further part of the answer"
            raise Timeout(f"{self.base}: {what} in time", paid=not connecting) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from None
        return Reply(self._parse(status, kind, text, wait, model), False, quota)

    async def aclose(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def redact(self, text: str) -> str:
        """The text without any secret that this connection knows: servers do repeat keys."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:  # each asyncio.run brings a loop of its own
            context: ssl.SSLContext | bool = True
            if self._ca_file:
                context = ssl.create_default_context(cafile=os.fspath(self._ca_file))
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0, ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self._trust_env,
            )
            self._loop = loop
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length <= self._max_bytes and "Content-Encoding" not in response.headers:
            return await response.read()
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise self._too_long(b"".join(parts))
        return b"".join(parts)

    async def _events(self, response: aiohttp.ClientResponse) -> list[Any]:
        """The data of the server-sent events, up to [DONE]."""
        parts, line, size = [], b"", 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_long(line)
            *lines, line = (line + chunk).split(b"\n")
            for data in lines:
                if not data.startswith(b"data:"):
                    continue
                text = self.redact(data[5:].decode("utf-8", "replace").strip())
                if text == "[DONE]":
                    return parts
                parts.append(self._parse(200, "text/event-stream", text, None, ""))
        raise ServerError(f"{self.base}: the streamed answer broke off", raw=repr(parts[-3:]), paid=True)

    def _too_long(self, start: bytes) -> LLMError:
        return ServerError(
            f"{self.base}: the answer is longer than {self._max_bytes} bytes",
            raw=self.redact(start[:2_000].decode("utf-8", "replace")),
            paid=True,
        )

    def _parse(self, status: int, kind: str, text: str, wait: float | None, model: str) -> Any:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        said = _message(value)
        if status == 200 and isinstance(value, dict) and said is None:
            return value
        if status == 200 and said is None:
            what = "is empty" if not text.strip() else f"is {kind}, not the JSON of an answer"
            raise ServerError(f"{self.base}: HTTP 200, but the body {what}", raw=text, paid=True)
        status = said[0] if said and status == 200 else status
        raise self._refusal(status, said[1] if said else text, said[2] if said else "", text, wait, model)

    def _refusal(
        self, status: int, message: str, code: str, raw: str, wait: float | None, model: str
    ) -> LLMError:
        """The error that an HTTP status stands for."""
        shown = " ".join(message.split())[:_SHOWN]
        text = f"{self.base}: HTTP {status}: {shown}"
        if status in (401, 403):
            return Misconfigured(f"{text} ({self._no_key or self._key_name + ' was refused'})", raw=raw)
        if status == 402 or code == "insufficient_quota":
            return Misconfigured(f"{text} (the account has no credit left)", raw=raw)
        if status == 404 or code == "model_not_found":
            return Misconfigured(f"{text} (check the model name {model!r} and the path of base_url)", raw=raw)
        if 300 <= status < 400:
            return Misconfigured(f"{text} (a redirect; set base_url to where it leads)", raw=raw)
        if status in (400, 405, 406, 411, 413, 414, 415, 422, 501):
            return Refused(text, raw=raw)
        if status == 429:
            return RateLimited(text, retry_after=wait, raw=raw)
        if status in (503, 529):
            return Overloaded(text, retry_after=wait, raw=raw)
        return ServerError(text, retry_after=wait, raw=raw)

    def _lost(self, error: aiohttp.ClientError | OSError) -> LLMError:
        """The error of a connection that failed. Only its class and its errno are repeated: aiohttp's texts
        hold addresses, and those may hold passwords."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
            said = getattr(reason, "verify_message", None) or type(reason).__name__
            return Misconfigured(
                f"{self.base}: TLS failed: {said}; if the server's certificate is your own, set ca_file"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0
            said = os.strerror(number) if number > 0 else "unknown host"
            return Unreachable(f"{self.base}: cannot connect: {said}")
        if isinstance(error, aiohttp.InvalidURL):
            return Misconfigured(f"{self.base}: base_url is no address")
        return ServerError(f"{self.base}: the connection broke ({type(error).__name__})", paid=True)


def _addresses(base_url: str) -> tuple[str, str, str, str]:
    """The endpoint's name, which holds no secret, the address before and after the path of a call, and the
    Authorization header that a user and password in the address stand for."""
    try:
        parts = urlsplit(base_url.strip())
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise Misconfigured("base_url: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = base_url.split("@")[-1].split("?")[0]
        raise Misconfigured(
            f"base_url: {shown!r} has no scheme and host; write it like http://127.0.0.1:8000/v1 or"
            " https://api.example.com/v1"
        )
    path = re.sub(r"(?:/v1)+$", "/v1", _CALLS.sub("", parts.path)) or "/v1"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{parts.scheme}://{host}{port}{path}"
    login = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + base64.b64encode(pair.encode()).decode()
    return base, f"{base}/", f"?{parts.query}" if parts.query else "", login


def _secrets(values: list[str], addresses: list[str]) -> list[str]:
    """What must never be repeated: header values, and the passwords and queries of addresses."""
    found = set(values)
    for address in addresses:
        parts = urlsplit(address)
        found |= {parts.password or "", *(value for _, value in parse_qsl(parts.query))}
    found |= {value.split(" ", 1)[1] for value in values if " " in value}  # "Bearer KEY"
    return sorted((value for value in found if len(value) >= 6), key=len, reverse=True)


def _message(value: Any) -> tuple[int, str, str] | None:
    """Status, text and code of a body that reports an error, in the shapes that servers use."""
    if not isinstance(value, dict):
        return None
    error = value.get("error", value.get("detail"))
    if error is None and value.get("object") != "error":
        return None
    inner = error if isinstance(error, dict) else value
    text = inner.get("message") or (error if isinstance(error, str) else json.dumps(value))
    code = inner.get("code")
    return (code if isinstance(code, int) and 400 <= code < 600 else 500), str(text), str(code or "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3: seconds or a date)."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    text = headers.get("Retry-After", "")
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if value < float("inf") else None


def _quota(headers: Mapping[str, str]) -> Quota | None:
    """What the rate-limit headers say: OpenAI's x-ratelimit-*, or the IETF draft's ratelimit-*."""
    requests = headers.get("x-ratelimit-remaining-requests", headers.get("ratelimit-remaining"))
    tokens = headers.get("x-ratelimit-remaining-tokens")
    if requests is None and tokens is None:
        return None
    requests_reset = headers.get("x-ratelimit-reset-requests", headers.get("ratelimit-reset", ""))
    return Quota(
        requests=_count(requests),
        requests_reset=_duration(requests_reset),
        tokens=_count(tokens),
        tokens_reset=_duration(headers.get("x-ratelimit-reset-tokens", "")),
    )


def _count(text: str | None) -> int | None:
    number = _number(text or "")
    return None if number is None else int(number)


def _duration(text: str) -> float:
    """Seconds in "1s", "6m0s", "20ms" or "3"; 0 for anything else."""
    if not re.fullmatch(r"(?:\d+\.?\d*(?:ms|s|m|h|d)?)+", text):
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
