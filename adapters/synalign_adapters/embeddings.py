"""Embeddings from any server that speaks OpenAI's HTTP protocol."""

from __future__ import annotations

import asyncio
import base64
import random
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from synalign_jax.llm.protocol import (
    LLMError,
    Loading,
    Misconfigured,
    Overloaded,
    RateLimited,
    Refused,
    ServerError,
)

from ._faults import Unexplained
from ._http import Http
from ._waiting import waited
from .connection import Connection

_TRIES = 6
_BRIEF = 200  # characters: a longer refusal says why, in its way
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_KIND = "passage"  # NVIDIA's word; rows are compared with rows, so that all are of one kind
_ENVELOPES = ("data", "embeddings", "result", "predictions", "embedding", "float")
_VECTORS = ("embedding", "embeddings", "values", "vector")


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
        self._kind: str | None = None  # of input, where the endpoint insists on being told one
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
        return waited(self._embed(texts))

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
        failures, suspect = 0, None
        tried = False  # without encoding_format
        while True:
            await self._pause.over()
            kind, sent = self._kind, self._format
            try:
                async with asyncio.timeout(self._timeout):
                    vectors = await self._ask(texts, start)
                self._pause.answered()
                if suspect is not None:
                    said = f"'encoding_format' is left out from now on ({suspect})"
                    warnings.warn(f"{self._http.base}: {self._model}: {said}", stacklevel=2)
                return vectors
            except Refused as error:
                if kind is None and "input_type" in f"{error} {error.raw}":
                    if self._kind is None:
                        self._kind = _KIND
                        said = f"'input_type' is '{_KIND}' from now on ({error})"
                        warnings.warn(f"{self._http.base}: {self._model}: {said}", stacklevel=2)
                    continue
                if (
                    sent
                    and not tried
                    and ("encoding_format" in f"{error} {error.raw}" or _is_unexplained(error))
                ):
                    tried = True
                    if self._format:  # else another has left it out since this was sent
                        self._format, suspect = False, error
                    continue
                if suspect is not None and _is_unexplained(suspect):
                    self._format, suspect = True, None  # it was not to blame
                if _says_too_many(error):
                    self._learn_size(len(texts))
                elif self._dimension is None:
                    await self._check_that_any_is_taken(error)
                if len(texts) == 1:
                    raise ValueError(f"text {start} cannot be embedded: {error}") from None
                vectors = await self._halved(texts, start)
                self._learn_size(len(texts))  # each half is taken: whatever it said, it was too large
                return vectors
            except (RateLimited, Loading, Overloaded) as error:
                self._pause.told(error, self._patience)
            except (LLMError, TimeoutError) as error:
                if len(texts) > 1 and isinstance(error, ServerError) and _says_too_many(error):
                    return await self._halved(texts, start)
                failures += 1
                if failures == _TRIES or (isinstance(error, LLMError) and not error.retry):
                    if isinstance(error, ServerError) and self._dimension is not None:
                        if len(texts) > 1:  # others were embedded: it may be one of these
                            return await self._halved(texts, start)
                        error.args = (f"{error} (text {start})",)
                    raise
                asked = getattr(error, "retry_after", None) or 0.0
                await asyncio.sleep(max(asked, _backoff(failures)))

    def _learn_size(self, refused: int) -> None:
        """A batch of so many texts is too large; what another has learnt meanwhile stands.

        The larger half is what is taken for good: a refused three may be one more than the limit.
        """
        if refused <= self._batch:
            self._batch = (refused + 1) // 2

    async def _check_that_any_is_taken(self, error: LLMError) -> None:
        """Nothing was embedded yet, and a request was refused: is it its texts?

        Raises:
            Misconfigured: no, the endpoint refuses any text.
        """
        try:
            await self._ask(["text"], 0)
        except Refused:
            raise Misconfigured(f"{error} (it refuses any text)", raw=error.raw) from None
        except LLMError:
            return  # it says nothing of that

    async def _halved(self, texts: Sequence[str], start: int) -> np.ndarray:
        half = len(texts) // 2
        first = await self._patiently(texts[:half], start)
        return np.concatenate([first, await self._patiently(texts[half:], start + half)])

    async def _ask(self, texts: Sequence[str], start: int) -> np.ndarray:
        """One request, one shot; errors name the texts by their places from `start` on."""
        body: dict[str, Any] = {"model": self._model, "input": list(texts)}
        if self._format:
            body["encoding_format"] = "float"
        if self._kind:
            body["input_type"] = self._kind
        reply = await self._http.post("embeddings", body, model=self._model)
        base = self._http.base
        try:
            rows = [_vector(row) for row in _rows_in(reply.value, len(texts))]
        except (LookupError, TypeError, ValueError) as error:
            raise ServerError(f"{base}: no embeddings ({type(error).__name__}: {error})") from None
        for place, row in enumerate(rows, start):
            if problem := _problem(row, len(rows[0])):
                raise ServerError(f"{base}: the embedding of text {place} {problem}")
        vectors = np.stack(rows)
        if self._dimension not in (None, vectors.shape[1]):
            raise ServerError(f"{base}: vectors of width {vectors.shape[1]}, {self._dimension} before")
        self._dimension = vectors.shape[1]
        self._http.has_answered(self._model, "embeddings")
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


def _is_unexplained(error: LLMError) -> bool:
    """Whether nothing is said of why."""
    return isinstance(error, Unexplained) and not _says_too_many(error) and len(error.raw or "") < _BRIEF


def _says_too_many(error: LLMError) -> bool:
    """Whether the batch, not one of its texts, is too large."""
    said = f"{error} {error.raw}".lower()
    return any(
        word in said
        for word in (
            "batch",
            "too many",
            "array",
            "at most",
            "too large",
            "http 413",
            "inputs",
            "per request",
        )
    )


def _rows_in(value: Any, count: int) -> list[Any]:
    """The vectors of a body, as they are given, in the order of the texts.

    Where an index is missing, or all are the same, it is the place where the row stands.

    Raises:
        LookupError, TypeError, ValueError: there are none, or not one for each text.
    """
    rows = value
    for _ in range(4):  # envelopes
        if not isinstance(rows, Mapping):
            break
        rows = next((inner for name in _ENVELOPES if (inner := rows.get(name))), [])
    if count == 1 and isinstance(rows, list) and rows and isinstance(rows[0], int | float):
        return [rows]  # the vector itself
    if len(rows) != count:
        raise ValueError(f"{len(rows)} for {count} text(s)")
    if not isinstance(rows[0], Mapping):
        return list(rows)
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError("not every row is an object")
    told = [row.get("index") for row in rows]
    places = [place if index is None else int(index) for place, index in enumerate(told)]
    if len(set(places)) == 1:
        places = list(range(count))
    first = min(places)  # some count from 1
    if sorted(places) != list(range(first, first + count)) or first not in (0, 1):
        raise ValueError(f"indices {sorted(places)[:5]}... for {count} text(s)")
    ordered: list[Any] = [None] * count
    for place, row in zip(places, rows, strict=True):
        ordered[place - first] = _numbers(row)
    return ordered


def _numbers(row: Mapping[str, Any]) -> Any:
    """The vector of a row, by OpenAI's name for it, Gemini's or Vertex's."""
    inner = row[next((name for name in _VECTORS if name in row), "embedding")]
    return _numbers(inner) if isinstance(inner, Mapping) else inner


def _vector(given: Any) -> np.ndarray:
    """Numbers, or base64 of little-endian float32, which some servers send whatever was asked for."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4")
    if given is None:
        raise TypeError("null for a vector")
    numbers = np.asarray(given, np.float32)
    return numbers[0] if numbers.ndim == 2 and len(numbers) == 1 else numbers


def _problem(vector: np.ndarray, width: int) -> str | None:
    """Why a vector cannot be used."""
    if vector.ndim != 1 or not vector.size:
        return f"holds no numbers in a row, but has the shape {vector.shape}"
    if len(vector) != width:
        return f"is {len(vector)} wide, that before it {width}"
    if not np.isfinite(vector).all():
        return "is not finite"
    return None if vector.any() else "is nothing but zeros"
