"""Embeddings from any server that speaks OpenAI's HTTP protocol."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from synalign_jax.llm.protocol import LLMError, Refused, ServerError

from ._http import Http

_TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


class OpenAIEmbeddings:
    """An endpoint's `/v1/embeddings` as a `synalign_jax.text` Embedder.

    The arguments that OpenAIChat has too mean the same here.

    Args:
        model: the embedding model's name.
        batch: texts a request.
        concurrency: requests in flight.
        timeout: seconds that one request may take.

    Raises:
        Misconfigured: `base_url` is no address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        connect_timeout: float = 10.0,
        batch: int = 64,
        concurrency: int = 8,
        timeout: float = 120.0,
    ) -> None:
        self._http = Http(
            base_url,
            api_key=api_key,
            api_key_env=api_key_env,
            headers=headers,
            proxy=proxy,
            ca_file=ca_file,
            connect_timeout=connect_timeout,
            idle_timeout=timeout,
            max_bytes=64_000_000,
        )
        self._model, self._batch, self._concurrency = model, batch, concurrency
        self._timeout = timeout
        self._dimension: int | None = None

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

        async def part(start: int) -> np.ndarray:
            async with slots:
                return await self._patiently(texts[start : start + self._batch], start)

        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(part(start)) for start in range(0, len(texts), self._batch)]
        except* (LLMError, ValueError) as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._http.aclose()
        return np.concatenate([task.result() for task in parts])

    async def _patiently(self, texts: Sequence[str], start: int) -> np.ndarray:
        """One batch, tried again while that may help; a refused one is halved to find the text."""
        for tries in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._ask(texts)
            except Refused as error:
                if len(texts) == 1:
                    raise ValueError(f"text {start} cannot be embedded: {error}") from None
                half = len(texts) // 2
                first = await self._patiently(texts[:half], start)
                return np.concatenate([first, await self._patiently(texts[half:], start + half)])
            except (LLMError, TimeoutError) as error:
                if tries == _TRIES or (isinstance(error, LLMError) and not error.retry):
                    raise
                asked = getattr(error, "retry_after", None) or 0.0
                wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
                await asyncio.sleep(max(asked, wait))
        raise AssertionError

    async def _ask(self, texts: Sequence[str]) -> np.ndarray:
        """One request, one shot."""
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        reply = await self._http.post("embeddings", body, model=self._model)
        try:
            rows = sorted(reply.value["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], np.float32)
            indices = [row["index"] for row in rows]
        except (LookupError, TypeError, ValueError) as error:
            raise ServerError(f"{self._http.base}: no embeddings ({type(error).__name__})") from None
        if indices != list(range(len(texts))) or vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ServerError(
                f"{self._http.base}: embeddings of shape {vectors.shape} for {len(texts)} text(s)"
            )
        if self._dimension not in (None, vectors.shape[1]):
            raise ServerError(
                f"{self._http.base}: vectors of width {vectors.shape[1]}, {self._dimension} before"
            )
        self._dimension = vectors.shape[1]
        return vectors
