"""Embeddings from any server that speaks OpenAI's HTTP protocol."""

from __future__ import annotations

import asyncio
import base64
import random
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Unpack

import numpy as np

from synalign_jax.llm.protocol import LLMError, Loading, Overloaded, RateLimited, Refused, ServerError

from ._http import Http
from .connection import Connection

_TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0


class OpenAIEmbeddings:
    """An endpoint's `/v1/embeddings` as a `synalign_jax.text` Embedder.

    A wait that the endpoint asks for is kept by all requests; a batch that it finds too large is halved, and
    so are those after it.

    Args:
        base_url: as for OpenAIChat.
        model: the embedding model's name.
        batch: texts a request, at most.
        concurrency: requests in flight.
        timeout: seconds that one request may take.
        total_timeout: seconds that a rate limit, or a server that loads its model, is waited for in a row.
        connection: see `Connection`.

    Raises:
        Misconfigured: `base_url` is no address, or a header or proxy cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        batch: int = 64,
        concurrency: int = 8,
        timeout: float = 120.0,
        total_timeout: float = 900.0,
        **connection: Unpack[Connection],
    ) -> None:
        self._http = Http(base_url, connection, idle_timeout=timeout, max_bytes=64_000_000)
        self._model, self._batch, self._concurrency = model, batch, concurrency
        self._timeout, self._patience = timeout, total_timeout
        self._dimension: int | None = None
        self._format = True  # whether encoding_format is sent
        self._pause = _Pause()

    def __repr__(self) -> str:
        return f"OpenAIEmbeddings({self._http.base!r}, model={self._model!r})"

    @property
    def identity(self) -> str:
        return f"{self._http.base} {self._model}"

    @property
    def dimension(self) -> int:
        """The vectors' width; the first look asks the endpoint."""
        if self._dimension is None:
            self.embed(["dimension"])
        assert self._dimension is not None
        return self._dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given.

        Raises:
            ValueError: a text that the endpoint refuses, with its index.
            LLMError: what the endpoint did wrong, after a bounded number of tries.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        # A thread of its own, because the caller may be inside an event loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._embed(texts)).result()

    async def _embed(self, texts: Sequence[str]) -> np.ndarray:
        slots = asyncio.Semaphore(self._concurrency)
        self._pause = _Pause()

        async def part(start: int) -> np.ndarray:
            async with slots:
                return await self._patiently(texts[start : start + size], start)

        size = self._batch
        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(part(start)) for start in range(0, len(texts), size)]
        except* (LLMError, ValueError) as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._http.aclose()
        return np.concatenate([task.result() for task in parts])

    async def _patiently(self, texts: Sequence[str], start: int) -> np.ndarray:
        """One batch, tried again while that may help; one that is too large, or refused, is halved."""
        if len(texts) > self._batch:  # another batch has learnt it
            return await self._halved(texts, start)
        failures = 0
        while True:
            await self._pause.over()
            try:
                async with asyncio.timeout(self._timeout):
                    vectors = await self._ask(texts)
                self._pause.answered()
                return vectors
            except Refused as error:
                if self._format and "encoding_format" in f"{error} {error.raw}":
                    self._format = False
                    warnings.warn(
                        f"{self._http.base}: {self._model}: 'encoding_format' is left out from now on"
                        f" ({error})",
                        stacklevel=2,
                    )
                    continue
                if len(texts) == 1:
                    raise ValueError(f"text {start} cannot be embedded: {error}") from None
                if _says_too_many(f"{error} {error.raw}".lower()):
                    self._batch = min(self._batch, max(1, len(texts) // 2))
                return await self._halved(texts, start)
            except (RateLimited, Loading, Overloaded) as error:
                self._pause.told(error, self._patience)
            except (LLMError, TimeoutError) as error:
                failures += 1
                if failures == _TRIES or (isinstance(error, LLMError) and not error.retry):
                    raise
                asked = getattr(error, "retry_after", None) or 0.0
                await asyncio.sleep(max(asked, _backoff(failures)))

    async def _halved(self, texts: Sequence[str], start: int) -> np.ndarray:
        half = len(texts) // 2
        first = await self._patiently(texts[:half], start)
        return np.concatenate([first, await self._patiently(texts[half:], start + half)])

    async def _ask(self, texts: Sequence[str]) -> np.ndarray:
        """One request, one shot."""
        body: dict[str, Any] = {"model": self._model, "input": list(texts)}
        if self._format:
            body["encoding_format"] = "float"
        reply = await self._http.post("embeddings", body, model=self._model)
        try:
            vectors = np.asarray(_rows_in(reply.value, len(texts)), np.float32)
        except (LookupError, TypeError, ValueError) as error:
            raise ServerError(f"{self._http.base}: no embeddings ({type(error).__name__}: {error})") from None
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ServerError(
                f"{self._http.base}: embeddings of shape {vectors.shape} for {len(texts)} text(s)"
            )
        if self._dimension not in (None, vectors.shape[1]):
            raise ServerError(
                f"{self._http.base}: vectors of width {vectors.shape[1]}, {self._dimension} before"
            )
        self._dimension = vectors.shape[1]
        self._http.has_answered(self._model)
        return vectors


class _Pause:
    """One wait for all requests: a limit that one of them meets is there for the others too."""

    def __init__(self) -> None:
        self._until = 0.0
        self._refusals = 0
        self._since: float | None = None  # when the refusals in a row began

    async def over(self) -> None:
        while (left := self._until - time.monotonic()) > 0:
            await asyncio.sleep(left * random.uniform(1.0, 1.05))

    def answered(self) -> None:
        self._refusals, self._since = 0, None

    def told(self, error: LLMError, patience: float) -> None:
        """The endpoint refused for now.

        Raises:
            LLMError: it asks for a longer wait than `patience`, or has refused for that long.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        asked = error.retry_after or 0.0
        if asked > patience or now - self._since > patience:
            error.args = (
                f"{error}; it wants {max(asked, now - self._since):.0f} s, longer than total_timeout ="
                f" {patience:g} s; start again later, the vectors so far are kept",
            )
            raise error
        if now >= self._until:  # else the refusal is of a request sent before the pause
            self._refusals += 1
            self._until = now + max(asked, _backoff(self._refusals))


def _backoff(failures: int) -> float:
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)


def _says_too_many(said: str) -> bool:
    """Whether the batch, not one of its texts, is too large."""
    return any(
        word in said for word in ("batch", "too many", "array", "at most", "too large", "413", "inputs")
    )


def _rows_in(value: Any, count: int) -> list[Any]:
    """The vectors of a body in the order of the texts; a missing index is the place where the row stands.

    Raises:
        LookupError, TypeError, ValueError: there are none, or not one for each text.
    """
    rows = value if isinstance(value, list) else value.get("data") or value.get("embeddings") or []
    if rows and not isinstance(rows[0], Mapping):
        return [_vector(row) for row in rows]
    placed: list[Any] = [None] * count
    for place, row in enumerate(rows):
        index = row.get("index")
        index = place if index is None else int(index)
        if not 0 <= index < count or placed[index] is not None:
            raise ValueError(f"index {index} for {count} text(s)")
        placed[index] = _vector(row["embedding"])
    if missing := [i for i, row in enumerate(placed) if row is None]:
        raise ValueError(f"none for text {missing[0]} of {count}")
    return placed


def _vector(given: Any) -> Any:
    """Numbers, or base64 of little-endian float32, which some servers send whatever was asked for."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4")
    return given
