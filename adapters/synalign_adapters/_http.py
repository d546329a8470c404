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

import aiohttp

from synalign_jax.llm.protocol import (
    LLMError,
    Misconfigured,
    Quota,
    ServerError,
)

from ._bodies import decoded, fault_in, parsed, written
from ._events import EventReader, looks_like_events
from ._faults import Blame, error_for
from ._waits import Elsewhere, elsewhere, quota
from .connection import Address, Connection, Credentials, Way, proxy_for

_STREAMS = ("text/event-stream", "application/x-ndjson", "application/jsonl", "application/stream+json")
_MOST_VISITS = 1_000  # of addresses that send on; how long that may take is the driver's to say
CHAT = "chat/completions"
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
        self._proxy, name = proxy_for(self._address.scheme, self._address.host, settings.get("proxy"))
        self._way = Way(self.base, self._proxy, name)
        self._waited_for: dict[str, Elsewhere] = {}  # by the key of the request
        self._ca_file, self._max_bytes = settings.get("ca_file"), max_bytes
        connect = settings.get("connect_timeout", 10.0)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=idle_timeout)
        self._answered: set[tuple[str, str]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(
        self, path: str, body: Mapping[str, Any], *, model: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST `body` to `path`; the answer may come whole or as a stream, whatever was asked for.

        Raises:
            LLMError: whatever went wrong, by its kind.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        key = sent.get("Idempotency-Key", "")
        at = self._waited_for.get(key) or Elsewhere("POST", self._address.of(path))
        data, wait = written(body), self._stream_timeout if body.get("stream") else self._timeout
        for _ in range(_MOST_VISITS):
            found = await self._visit(at, data, sent, wait, (path, model))
            if isinstance(found, Reply):
                self._waited_for.pop(key, None)
                return found
            at = found
            if key and at.method == "GET":  # what is made already is not asked for again
                self._waited_for[key] = at
            await asyncio.sleep(at.wait)
        raise ServerError(f"{self.base}: looked {_MOST_VISITS} times, and the answer is not made", paid=True)

    async def _visit(
        self,
        at: Elsewhere,
        data: bytes,
        headers: Mapping[str, str],
        wait: aiohttp.ClientTimeout,
        asked: tuple[str, str],
    ) -> Reply | Elsewhere:
        """What an address answers: the reply, or where it is had."""
        try:
            async with self._open().request(
                at.method,
                at.url,
                data=data if at.method == "POST" else None,
                headers=headers,
                proxy=self._proxy,
                timeout=wait,
                allow_redirects=False,
            ) as response:
                if (next_one := elsewhere(at, response.status, response.headers, self.base)) is not None:
                    return next_one
                status = 200 if 200 <= response.status < 300 else response.status
                if status == 200 and response.content_type in _STREAMS:
                    return await self._streamed(response, asked)
                text = decoded(await self._read(response), response.charset)
                kind, sent_back = response.content_type, response.headers
        except TimeoutError as error:
            raise self._way.late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._way.lost(error) from None
        if status in (404, 410) and at.method == "GET":  # kept no longer
            self._waited_for.pop(headers.get("Idempotency-Key", ""), None)
            raise ServerError(f"{self.base}: the answer that was to be fetched is gone", paid=True)
        if status == 200 and looks_like_events(text):
            reader = EventReader()
            reader.feed(text.encode())
            reader.close()
            return self._of_events(reader, quota(sent_back), asked)
        return Reply(self._parse(status, kind, text, sent_back, asked), False, quota(sent_back))

    async def call(
        self, method: str, path: str, *, data: Any = None, params: Mapping[str, str] | None = None
    ) -> Called:
        """Any other call: what came back, whatever its status. Raises LLMError where nothing did."""
        try:
            async with self._request(method, path, data, params) as response:
                text = (await self._read(response)).decode("utf-8", "replace")
                return Called(response.status, text, response.headers)
        except TimeoutError as error:
            raise self._way.late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._way.lost(error) from None

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
            raise self._way.late(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._way.lost(error) from None
        yield rest.decode("utf-8", "replace")

    def refusal(self, called: Called, model: str = "") -> LLMError:
        """The error that a call stands for which did not succeed."""
        return self._error(called.status, parsed(called.text), called.text, called.headers, (CHAT, model))

    def value_of(self, called: Called, model: str) -> Any:
        """The answer that came by another way than `post`; raises as that does."""
        return self._parse(called.status, "application/json", called.text, called.headers, (CHAT, model))

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

    def has_answered(self, model: str, path: str = CHAT) -> None:
        """An answer has come from the model: a refusal of one request is no longer one of all."""
        self._answered.add((path, model))

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
        """The whole body; one that lacks its end may be whole all the same."""
        parts, size = [], 0
        length = response.content_length
        try:
            if (
                length is not None
                and length <= self._max_bytes
                and "Content-Encoding" not in response.headers
            ):
                while part := await response.content.readany():
                    parts.append(part)
                return b"".join(parts)
            async for part in self._plain(response):
                parts.append(part)
                size += len(part)
                if size > self._max_bytes:
                    raise self._too_long(b"".join(parts))
        except aiohttp.ClientPayloadError:
            if parsed(decoded(b"".join(parts), None)) is None:
                raise
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

    async def _streamed(self, response: aiohttp.ClientResponse, asked: tuple[str, str]) -> Reply:
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
            raise self._way.late(error) from None
        except (aiohttp.ClientError, OSError):
            pass  # what has come may be a whole answer
        reader.close()
        return self._of_events(reader, left, asked)

    def _of_events(self, reader: EventReader, left: Quota | None, asked: tuple[str, str]) -> Reply:
        """The parts before the first that reports an error, and that error."""
        parts: list[Any] = []
        for part in reader.parts:
            if fault_in(part) is not None and not (isinstance(part, dict) and part.get("choices")):
                text = self.redact(json.dumps(part))
                error = self._error(200, part, text, {}, asked)
                error.paid = True
                return Reply(parts, True, left, said=error)
            parts.append(part)
        if not parts:
            what = "is an event stream without an answer"
            raise ServerError(f"{self.base}: HTTP 200, but the body {what}", raw="", paid=True)
        return Reply(parts, True, left, reader.done)

    def _parse(
        self, status: int, kind: str, text: str, headers: Mapping[str, str], asked: tuple[str, str]
    ) -> Any:
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
        raise self._error(status, value, self.redact(text), headers, asked)

    # -- errors --------------------------------------------------------------------------------------------

    def _error(
        self, status: int, value: Any, text: str, headers: Mapping[str, str], asked: tuple[str, str]
    ) -> LLMError:
        """`asked` are path and model."""
        blame = Blame(self.base, asked[1], self._key, asked in self._answered, asked[0])
        error = error_for(status, value, self.redact(text), headers, blame)
        error.args = (self.redact(str(error)),)
        return error

    def _too_long(self, start: bytes) -> LLMError:
        return ServerError(
            f"{self.base}: the answer is longer than {self._max_bytes} bytes",
            raw=self.redact(start[:_KEPT].decode("utf-8", "replace")),
            paid=True,
        )
