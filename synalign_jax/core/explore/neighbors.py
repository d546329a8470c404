"""The rows of a pool that lie nearest to some of its rows: several searches share one pass over the pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .observations import HostCovariance

_TOGETHER = 16  # centres of one pass: it costs little more than the pass of one


class Neighbors:
    """Nearest others by Euclidean distance, searched ahead for the rows that are likely to be asked next.

    Distances that rounding could have reordered are computed again in float64; of equal ones the first row
    is nearer.
    """

    def __init__(self, covariance: HostCovariance, count: int) -> None:
        self._covariance, self._count = covariance, count
        self._known: dict[int, np.ndarray] = {}

    def of(self, row: int, likely: Callable[[int], np.ndarray]) -> np.ndarray:
        """The row itself and its `count` nearest others, nearest first.

        Args:
            row: index of a row.
            likely: so many rows that may be asked next; called where a pass is needed.
        """
        if not self._count:
            return np.array([row])
        if row not in self._known:
            rows = [row, *(r for r in likely(_TOGETHER - 1).tolist() if r != row and r not in self._known)]
            self._known.update(zip(rows, self._search(np.array(rows)), strict=True))
        return self._known.pop(row)

    def _search(self, rows: np.ndarray) -> list[np.ndarray]:
        found = [(np.zeros(0, int), np.zeros(0)) for _ in rows]
        for start, distances in self._covariance.distances(rows):
            for i, (row, near) in enumerate(zip(rows, distances, strict=True)):
                indices, values = found[i]
                count = self._count + (start <= row < start + len(near))  # the row itself may be among them
                bound = np.inf
                if len(values) >= self._count:
                    bound = values.max()
                elif len(near) > count:
                    bound = np.partition(near, count - 1)[count - 1]
                error = self._error(row, slice(start, start + len(near)))
                inside = start + np.flatnonzero(near <= bound + error)
                inside = inside[inside != row]
                if not len(inside):
                    continue
                values = np.concatenate([values, near[inside - start]])
                indices = np.concatenate([indices, inside])
                if len(values) > self._count:
                    bound = np.partition(values, self._count - 1)[self._count - 1]
                    kept = values <= bound + self._error(row, indices)
                    indices, values = indices[kept], values[kept]
                found[i] = indices, values
        return [self._nearest(row, indices) for row, (indices, _) in zip(rows, found, strict=True)]

    def _error(self, row: Any, others: Any) -> np.ndarray:
        """By how much rounding may have moved the distances of others, against those of one of them."""
        return 2.0 * self._covariance.distance_error(row, others)

    def _nearest(self, row: Any, others: np.ndarray) -> np.ndarray:
        others = np.sort(others)
        distances = self._covariance.exact_distances(row, others)
        return np.concatenate([[row], others[np.argsort(distances, kind="stable")[: self._count]]])
