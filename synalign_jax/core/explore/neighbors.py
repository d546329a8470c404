"""The rows of a pool that lie nearest to some of its rows: several searches share one pass over the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .observations import HostCovariance

_TOGETHER = 16  # centres of one pass: it costs little more than the pass of one


class Neighbors:
    """Nearest others by Euclidean distance, searched ahead for the rows that are likely to be asked next."""

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
                if len(values) == self._count:
                    inside = np.flatnonzero(near < values[-1])
                else:
                    count = min(self._count + 1, len(near))  # the row itself may be among them
                    inside = np.argpartition(near, count - 1)[:count]
                inside = inside[start + inside != row]
                if not len(inside):
                    continue
                indices = np.concatenate([indices, start + inside])
                values = np.concatenate([values, near[inside]])
                best = np.argsort(values, kind="stable")[: self._count]
                found[i] = indices[best], values[best]
        return [np.concatenate([[row], indices]) for row, (indices, _) in zip(rows, found, strict=True)]
