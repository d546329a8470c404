"""What a source of embeddings must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Embedder(Protocol):
    """Texts in, one vector each out; equal texts get equal vectors."""

    @property
    def identity(self) -> str:
        """Names model, weights and settings: the cache key beside the text. Never a secret."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given.

        Raises:
            ValueError: texts that cannot be embedded, with the index.
        """
        ...


@runtime_checkable
class Truncating(Embedder, Protocol):
    """An embedder that can tell which texts it had to cut."""

    def embed_marked(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What `embed` gives, and a (len(texts),) bool array of the texts that were cut."""
        ...
