"""Rows that say in other words what an earlier row said, by the vectors that are there anyway."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.pipeline.data.growing import GrowingVectors, VectorsOnDisk

# Products of a few rows with a cell: threads would take longer to meet than one takes to compute, and where
# other work keeps a core busy they wait for each other ten times as long.
_BLAS = ThreadpoolController()
_RANGE = (0.85, 0.98)
_QUANTILE = 0.99
_BLOCK = 2_048  # new rows that are compared together
_ALL_PAIRS = 16_384  # remembered rows up to which a new one is compared with every one
_CELLS = 512
_TOGETHER = 1_024  # rows of a cell in one block
_PROBES = 4  # cells that a new row is compared with, beyond that


class Meanings:
    """Remembers vectors, and finds those that a new one repeats.

    Two rows mean the same when the cosine of their vectors is at least `threshold`. `None` takes it from the
    real rows: what their nearest neighbours among themselves hardly ever reach, within 0.85 and 0.98.

    Beyond 16,384 remembered rows these lie in cells, each row in that of its nearest of 512 pivots, and a new
    row is compared with those in its four nearest cells (an inverted file: Jegou, Douze & Schmid, IEEE TPAMI
    2011, section V). A few repetitions are then missed, and the work for a row does not grow with all rows.
    """

    def __init__(self, real: Float[np.ndarray, "n d"], threshold: float | None = None) -> None:
        self._real = _unit(real)
        self.threshold = _threshold(self._real) if threshold is None else threshold
        self._pivots: np.ndarray | None = None
        self._cells = [GrowingVectors(self._real.shape[1], _TOGETHER)]

    def verdicts(self, vectors: Float[np.ndarray, "m d"] | VectorsOnDisk) -> list[str | None]:
        """Why each row is dropped, or None where it is remembered; the first of two that mean the same is."""
        found: list[str | None] = []
        with _BLAS.limit(limits=1, user_api="blas"):
            for start in range(0, len(vectors), _BLOCK):
                rows = np.arange(start, min(start + _BLOCK, len(vectors)))
                found += self._block(_unit(vectors[rows]))
        return found

    def _block(self, new: np.ndarray) -> list[str | None]:
        of_real = np.max(new @ self._real.T, axis=1) >= self.threshold
        of_earlier = self._near_earlier(new)
        among = np.tril(new @ new.T >= self.threshold, -1)
        kept = np.zeros(len(new), bool)
        found: list[str | None] = []
        for row in range(len(new)):
            if of_real[row]:
                found.append("means what a real row means")
            elif of_earlier[row] or (among[row] & kept).any():
                found.append("means what an earlier row means")
            else:
                kept[row] = True
                found.append(None)
        self._remember(new[kept])
        return found

    def _near_earlier(self, new: np.ndarray) -> np.ndarray:
        near = np.zeros(len(new), bool)
        if self._pivots is None:
            return near | _reach(self._cells[0], new, self.threshold)
        probes = np.argpartition(-(new @ self._pivots.T), _PROBES - 1, axis=1)[:, :_PROBES].ravel()
        order = np.argsort(probes, kind="stable")
        numbers, starts = np.unique(probes[order], return_index=True)
        for cell, rows in zip(numbers, np.split(order // _PROBES, starts[1:]), strict=True):
            near[rows] |= _reach(self._cells[cell], new[rows], self.threshold)
        return near

    def _remember(self, rows: np.ndarray) -> None:
        if self._pivots is None:
            self._cells[0].extend(rows)
            if len(self._cells[0]) <= _ALL_PAIRS:
                return
            rows = np.concatenate(self._cells[0].blocks)
            self._pivots = rows[evenly_spaced(len(rows), _CELLS)].copy()
            self._cells = [GrowingVectors(rows.shape[1], _TOGETHER) for _ in range(_CELLS)]
        nearest = np.argmax(rows @ self._pivots.T, axis=1)
        for cell in np.unique(nearest):
            self._cells[cell].extend(rows[nearest == cell])


def _reach(cell: GrowingVectors, new: np.ndarray, threshold: float) -> np.ndarray:
    """(rows,) whether any row of the cell is that near."""
    near = np.zeros(len(new), bool)
    for block in cell.blocks:
        near |= np.max(new @ block.T, axis=1) >= threshold
    return near


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _threshold(unit: np.ndarray) -> float:
    some = unit[evenly_spaced(len(unit), 2_048)]
    similar = some @ some.T
    np.fill_diagonal(similar, -1.0)
    return float(np.clip(np.quantile(similar.max(axis=1), _QUANTILE), *_RANGE))
