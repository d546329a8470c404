"""Words before every text, for a source of vectors that knows of none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import check_texts
from .protocol import Embedder


class Prompted:
    """An embedder of `words` and each text.

    Args:
        embedder: what embeds them, as one text.
    """

    def __init__(self, embedder: Embedder, words: str) -> None:
        self._embedder, self._words = embedder, words
        self.identity = f"{embedder.identity} prompt {words!r}"

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given."""
        check_texts(texts)
        return self._embedder.embed([self._words + text for text in texts])
