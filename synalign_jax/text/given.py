"""Vectors that the user already has, behind the same protocol as an encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ModelError


class GivenVectors:
    """Looks texts up among those whose vectors are known.

    Args:
        texts: distinct texts, or repeated ones with equal vectors.
        vectors: (len(texts), dimension) finite floats, held as float32.

    Raises:
        ModelError: rows and texts differ in number, a value is not finite, or a text has two vectors.
    """

    def __init__(self, texts: Sequence[str], vectors: Any) -> None:
        rows = np.asarray(vectors, np.float32)
        if rows.ndim != 2 or len(rows) != len(texts) or not rows.size:
            raise ModelError(f"vectors: expected ({len(texts)}, dimension), one row a text, got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ModelError(f"vectors: row {np.argwhere(~np.isfinite(rows))[0][0]} holds a value not finite")
        self._rows: dict[str, int] = {}
        for i, text in enumerate(texts):
            first = self._rows.setdefault(text, i)
            if not np.array_equal(rows[first], rows[i]):
                raise ModelError(f"vectors: rows {first} and {i} are of the same text and differ")
        self._vectors = rows
        self.dimension = rows.shape[1]
        self.identity = f"given vectors {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32.

        Raises:
            ModelError: a text that has no vector, with its index.
        """
        unknown = next((i for i, text in enumerate(texts) if text not in self._rows), None)
        if unknown is not None:
            raise ModelError(f"text {unknown}: has no vector among the {len(self._rows)} that were given")
        return self._vectors[[self._rows[text] for text in texts]]
