"""One call of an OpenAI-compatible server: its JSON, or an error of the protocol that holds no secret."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from synalign_jax.llm.protocol import (
    LLMError,
    Misconfigured,
    Quota,
    ServerError,
    Timeout,
    Unreachable,
)

from ._bodies import fault_in, parsed, written
from ._events import EventReader, looks_like_events
from ._faults import Blame, error_for
from ._waits import quota
from .connection import Address, Connection, Credentials, proxy_for

_STREAMS = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")
_KEPT = 2_000  # characters of a body that is no answer


@dataclass(frozen=True, slots=True)
class Reply:
    """`value` is the parsed body; of a stream, the list of its parts.

    `marked` says that a stream came to its end, [DONE]. `said` is the error that ended it.
    """

    value: Any
    streamed: bool
    quota: Quota | None
    marked: bool = False
    said: LLMError | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """An HTTP answer as it came."""

    status: int
    text: str
    headers: Mapping[str, str]


class Http:
    """The connection to one server. Not an adapter: OpenAIChat and its like say what to post.

    Raises:
        Misconfigured: an address, header or proxy that cannot be one.
    """

    def __init__(
        self, base_url: str, settings: Connection, *, idle_timeout: float | None, max_bytes: int
    ) -> None:
        self._address = Address(base_url)
        credentials = Credentials(self._address, base_url, settings)
        self.base = self._address.base
        self.secrets = credentials.secrets
        self._headers, self._key = credentials.headers, credentials.said
        self._proxy, self._proxy_name = proxy_for(
            self._address.scheme, self._address.host, settings.get("proxy")
        )
        self._ca_file, self._max_bytes = settings.get("ca_file"), max_bytes
        connect = settings.get("connect_timeout", 10.0)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=idle_timeout)
        self._answered: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(
        self, path: str, body: Mapping[str, Any], *, model: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST `body` to `path`; the answer may come whole or as a stream, whatever was asked for.

        Raises:
            LLMError: whatever went wrong, by its kind.
        """
        stream = bool(body.get("stream"))
        sent = {"Content-Type": "application/json", **(headers or {})}
        data = written(body)
        try:
            async with self._open().post(
                self._address.of(path),
                data=data,
                headers=sent,
                proxy=self._proxy,
                timeout=self._stream_timeout if stream else self._timeout,
                allow_redirects=False,
            ) as response:
                status = 200 if 200 <= response.status < 300 else response.status
                if status == 200 and response.content_type in _STREAMS:
                    return await self._streamed(response, model)
                text = (await self._read(response)).decode("utf-8", "replace")
                kind, sent_back = response.content_type, response.headers
        except TimeoutError as error:
            raise self._late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from None
        if status == 200 and looks_like_events(text):
            reader = EventReader()
            reader.feed(text.encode())
            reader.close()
            return self._of_events(reader, quota(sent_back), model)
        return Reply(self._parse(status, kind, text, sent_back, model), False, quota(sent_back))

    async def call(
        self, method: str, path: str, *, data: Any = None, params: Mapping[str, str] | None = None
    ) -> Called:
        """Any other call: what came back, whatever its status. Raises LLMError where nothing did."""
        try:
            async with self._request(method, path, data, params) as response:
                text = (await self._read(response)).decode("utf-8", "replace")
                return Called(response.status, text, response.headers)
        except TimeoutError as error:
            raise self._late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from None

    async def lines(self, path: str) -> AsyncGenerator[str]:
        """The lines of a file, as they come. Raises LLMError where there is none, or it breaks off."""
        rest = b""
        try:
            async with self._request("GET", path) as response:
                if response.status != 200:
                    text = (await self._read(response)).decode("utf-8", "replace")
                    raise self.refusal(Called(response.status, text, response.headers))
                async for part in self._plain(response):
                    *whole, rest = (rest + part).split(b"\n")
                    for line in whole:
                        yield line.decode("utf-8", "replace")
                    if len(rest) > self._max_bytes:
                        raise self._too_long(rest)
        except TimeoutError as error:
            raise self._late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from None
        yield rest.decode("utf-8", "replace")

    def refusal(self, called: Called, model: str = "") -> LLMError:
        """The error that a call stands for which did not succeed."""
        return self._error(called.status, parsed(called.text), called.text, called.headers, model)

    def value_of(self, called: Called, model: str) -> Any:
        """The answer that came by another way than `post`; raises as that does."""
        return self._parse(called.status, "application/json", called.text, called.headers, model)

    def _request(
        self, method: str, path: str, data: Any = None, params: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        is_json = isinstance(data, dict)
        return self._open().request(
            method,
            self._address.of(path),
            data=written(data) if is_json else data,
            headers={"Content-Type": "application/json"} if is_json else None,
            params=dict(params or {}),
            proxy=self._proxy,
            timeout=self._stream_timeout,
            allow_redirects=False,
        )

    async def aclose(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def redact(self, text: str) -> str:
        """The text without any secret that this connection knows."""
        return self.secrets.redact(text)

    def has_answered(self, model: str) -> None:
        """An answer has come from the model: a refusal of one request is no longer one of all."""
        self._answered.add(model)

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
                trust_env=False,  # proxies are looked up here, so that an error can name their variable
                auto_decompress=False,
            )
            self._loop = loop
        return self._session

    # -- bodies --------------------------------------------------------------------------------------------

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length <= self._max_bytes and "Content-Encoding" not in response.headers:
            return await response.read()
        parts, size = [], 0
        async for part in self._plain(response):
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise self._too_long(b"".join(parts))
        return b"".join(parts)

    async def _plain(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body's bytes, decompressed: some servers compress though `identity` was asked for."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        inflate = None
        if encoding in ("gzip", "x-gzip", "deflate"):
            inflate = zlib.decompressobj(wbits=47 if encoding != "deflate" else zlib.MAX_WBITS)
        elif encoding not in ("identity", "", "none"):
            raise Misconfigured(
                f"{self.base}: the answers are compressed as {encoding!r}, which was not asked for and cannot"
                " be read; switch compression off at the server or the gateway before it"
            )
        async for part in response.content.iter_any():
            if inflate is None:
                yield part
                continue
            try:
                yield inflate.decompress(part, self._max_bytes + 1)
            except zlib.error:
                raise ServerError(f"{self.base}: the compressed answer is broken", paid=True) from None

    async def _streamed(self, response: aiohttp.ClientResponse, model: str) -> Reply:
        reader, size = EventReader(), 0
        left = quota(response.headers)
        try:
            async for chunk in self._plain(response):
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_long(json.dumps(reader.parts[-3:]).encode())
                reader.feed(chunk)
                if reader.done:
                    break
        except TimeoutError as error:
            raise self._late(error) from None
        except (aiohttp.ClientError, OSError):
            pass  # what has come may be a whole answer
        reader.close()
        return self._of_events(reader, left, model)

    def _of_events(self, reader: EventReader, left: Quota | None, model: str) -> Reply:
        """The parts before the first that reports an error, and that error."""
        parts: list[Any] = []
        for part in reader.parts:
            if fault_in(part) is not None and not (isinstance(part, dict) and part.get("choices")):
                text = self.redact(json.dumps(part))
                error = self._error(200, part, text, {}, model)
                error.paid = True
                return Reply(parts, True, left, said=error)
            parts.append(part)
        if not parts:
            what = "is an event stream without an answer"
            raise ServerError(f"{self.base}: HTTP 200, but the body {what}", raw="", paid=True)
        return Reply(parts, True, left, reader.done)

    def _parse(self, status: int, kind: str, text: str, headers: Mapping[str, str], model: str) -> Any:
        value = parsed(text)
        if status == 200 and (isinstance(value, dict) or (isinstance(value, list) and value)):
            answers = isinstance(value, dict) and (value.get("choices") or value.get("data"))
            if answers or fault_in(value) is None:
                return value
        elif status == 200:
            what = "is empty" if not text.strip() else f"is {kind}, not the JSON of an answer"
            raise ServerError(
                f"{self.base}: HTTP 200, but the body {what}; check the path of base_url",
                raw=self.redact(text[:_KEPT]),
                paid=True,
            )
        raise self._error(status, value, self.redact(text), headers, model)

    # -- errors --------------------------------------------------------------------------------------------

    def _error(self, status: int, value: Any, text: str, headers: Mapping[str, str], model: str) -> LLMError:
        blame = Blame(self.base, model, self._key, model in self._answered)
        error = error_for(status, value, self.redact(text), headers, blame)
        error.args = (self.redact(str(error)),)
        return error

    def _too_long(self, start: bytes) -> LLMError:
        return ServerError(
            f"{self.base}: the answer is longer than {self._max_bytes} bytes",
            raw=self.redact(start[:_KEPT].decode("utf-8", "replace")),
            paid=True,
        )

    def _late(self, error: TimeoutError) -> LLMError:
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        what = "no connection" if connecting else "no further part of the answer"
        through = f" through {self._shown_proxy()}" if connecting and self._proxy else ""
        return Timeout(f"{self.base}: {what} in time{through}", paid=not connecting)

    def _lost(self, error: aiohttp.ClientError | OSError) -> LLMError:
        """The error of a connection that failed. Only its class and its errno are repeated: aiohttp's texts
        hold addresses, and those may hold passwords."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
            said = getattr(reason, "verify_message", None) or type(reason).__name__
            return Misconfigured(
                f"{self.base}: TLS failed: {said}; if the server's certificate is your own, set ca_file"
            )
        if isinstance(error, aiohttp.ClientHttpProxyError):
            what = f"{self._shown_proxy()} answered HTTP {error.status}"
            hint = " (it wants a user and password)" if error.status == 407 else ""
            kind = Misconfigured if error.status in (403, 407) else Unreachable
            return kind(f"{self.base}: {what}{hint}")
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0
            said = os.strerror(number) if number > 0 else "unknown host"
            whom = (
                f"to {self._shown_proxy()}" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            )
            return Unreachable(f"{self.base}: cannot connect{' ' if whom else ''}{whom}: {said}")
        if isinstance(error, aiohttp.InvalidURL):
            whose = f"{self._shown_proxy()} is no address" if self._proxy else "base_url is no address"
            return Misconfigured(f"{self.base}: {whose}")
        through = f" through {self._shown_proxy()}" if self._proxy else ""
        return ServerError(f"{self.base}: the connection broke{through} ({type(error).__name__})", paid=True)

    def _shown_proxy(self) -> str:
        parts = urlsplit(self._proxy or "")
        return f"the proxy {parts.hostname}:{parts.port or 80} (from {self._proxy_name})"
