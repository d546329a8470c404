"""Rows that say in other words what an earlier row said, by the vectors that are there anyway."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_RANGE = (0.85, 0.98)
_QUANTILE = 0.99


class Meanings:
    """Remembers vectors, and finds those that a new one repeats.

    Two rows mean the same when the cosine of their vectors is at least `threshold`. `None` takes it from the
    real rows: what their nearest neighbours among themselves hardly ever reach, within 0.85 and 0.98.
    """

    def __init__(self, real: Float[np.ndarray, "n d"], threshold: float | None = None) -> None:
        self._real = _unit(real)
        self.threshold = _threshold(self._real) if threshold is None else threshold
        self._rows = np.zeros((16, self._real.shape[1]), np.float32)
        self._count = 0

    def verdict(self, vector: Float[np.ndarray, " d"]) -> str | None:
        """Why the row is dropped, or None when it is remembered."""
        unit = _unit(vector[None])[0]
        if np.max(self._real @ unit) >= self.threshold:
            return "means what a real row means"
        if self._count and np.max(self._rows[: self._count] @ unit) >= self.threshold:
            return "means what an earlier row means"
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = unit
        self._count += 1
        return None


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _threshold(unit: np.ndarray) -> float:
    some = unit[np.linspace(0, len(unit) - 1, min(len(unit), 2_048)).astype(int)]
    similar = some @ some.T
    np.fill_diagonal(similar, -1.0)
    return float(np.clip(np.quantile(similar.max(axis=1), _QUANTILE), *_RANGE))
