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
_SHORT = 64  # numbers of a row that bound its cosines
_LEAST_WIDTH = 192  # columns from which that is less work than the cosines
_SLACK = 1e-4  # of a bound, for rounding
_FEW_PAIRS = 0.02  # share of pairs that may be near, up to which each is looked at by itself


class Meanings:
    """Remembers vectors, and finds those that a new one repeats.

    Two rows mean the same when the cosine of their vectors is at least `threshold`. `None` takes it from the
    real rows: what their nearest neighbours among themselves hardly ever reach, within 0.85 and 0.98.

    Beyond 16,384 remembered rows these lie in cells, each row in that of its nearest of 512 pivots, and a new
    row is compared with those in its four nearest cells (an inverted file: Jegou, Douze & Schmid, IEEE TPAMI
    2011, section V). A few repetitions are then missed, and the work for a row grows slowly. Most rows of a
    cell are passed over by what their cosine can be at most (`_Bounds`).
    """

    def __init__(self, real: Float[np.ndarray, "n d"], threshold: float | None = None) -> None:
        self._real = _unit(real)
        self.threshold = _threshold(self._real) if threshold is None else threshold
        self._pivots: np.ndarray | None = None
        self._cells = [GrowingVectors(self._real.shape[1], _TOGETHER)]
        self._bounds: _Bounds | None = None
        self._short: list[GrowingVectors] = []  # of each cell's rows, what `_bounds` needs

    def verdicts(self, vectors: Float[np.ndarray, "m d"] | VectorsOnDisk) -> list[str | None]:
        """Why each row is dropped, or None where it is remembered; the first of two that mean the same is."""
        found: list[str | None] = []
        with _BLAS.limit(limits=1, user_api="blas"):
            for start in range(0, len(vectors), _BLOCK):
                rows = np.arange(start, min(start + _BLOCK, len(vectors)))
                found += self._block(_unit(vectors[rows]))
        return found

    def _block(self, new: np.ndarray) -> list[str | None]:
        short = None if self._bounds is None else self._bounds.of(new)
        of_real = np.max(new @ self._real.T, axis=1) >= self.threshold
        kept = ~(of_real | self._near_earlier(new, short))
        # Of each pair the earlier one comes first, and what becomes of it is known when the later one is met.
        for row, before in zip(*self._among(new, short), strict=True):
            if kept[row] and kept[before]:
                kept[row] = False
        self._remember(new[kept], None if short is None else short[kept])
        return [
            None if keeps else f"means what {'a real' if real else 'an earlier'} row means"
            for keeps, real in zip(kept.tolist(), of_real.tolist(), strict=True)
        ]

    def _among(self, new: np.ndarray, short: np.ndarray | None) -> tuple[list[int], list[int]]:
        """Pairs of new rows that are that near, a later and an earlier one, by the later."""
        rows, columns = self._near((new, short), (new, short), itself=True)
        earlier = columns < rows
        return rows[earlier].tolist(), columns[earlier].tolist()

    def _near_earlier(self, new: np.ndarray, short: np.ndarray | None) -> np.ndarray:
        near = np.zeros(len(new), bool)
        if self._pivots is None:
            for block in self._cells[0].blocks:
                near[self._near((new, None), (block, None))[0]] = True
            return near
        probes = np.argpartition(-(new @ self._pivots.T), _PROBES - 1, axis=1)[:, :_PROBES].ravel()
        order = np.argsort(probes, kind="stable")
        numbers, starts = np.unique(probes[order], return_index=True)
        for cell, rows in zip(numbers, np.split(order // _PROBES, starts[1:]), strict=True):
            blocks = self._cells[cell].blocks
            bounds = self._short[cell].blocks if self._short else [None] * len(blocks)
            some = new[rows], None if short is None else short[rows]
            for block in zip(blocks, bounds, strict=True):
                near[rows[self._near(some, block)[0]]] = True
        return near

    def _near(
        self,
        new: tuple[np.ndarray, np.ndarray | None],
        others: tuple[np.ndarray, np.ndarray | None],
        *,
        itself: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions of new and other rows whose cosine is at least the threshold, by the new ones.

        Args:
            new, others: unit rows, and what `_Bounds` says of them.
            itself: the others are the new rows, of which none is a pair with itself.
        """
        if new[1] is not None and others[1] is not None:
            bounds = new[1] @ others[1].T
            if itself:
                np.fill_diagonal(bounds, -1.0)
            rows, columns = _reaching(bounds, self.threshold - _SLACK)
            if len(rows) <= _FEW_PAIRS * bounds.size:
                near = np.einsum("rd,rd->r", new[0][rows], others[0][columns]) >= self.threshold
                return rows[near], columns[near]
        cosines = new[0] @ others[0].T
        if itself:
            np.fill_diagonal(cosines, -1.0)
        return _reaching(cosines, self.threshold)

    def _remember(self, rows: np.ndarray, short: np.ndarray | None) -> None:
        if self._pivots is None:
            self._cells[0].extend(rows)
            if len(self._cells[0]) <= _ALL_PAIRS:
                return
            rows = np.concatenate(self._cells[0].blocks)
            self._pivots = rows[evenly_spaced(len(rows), _CELLS)].copy()
            self._cells = [GrowingVectors(rows.shape[1], _TOGETHER) for _ in range(_CELLS)]
            if rows.shape[1] >= _LEAST_WIDTH:
                self._bounds = _Bounds(self._pivots)
                self._short = [GrowingVectors(_SHORT, _TOGETHER) for _ in range(_CELLS)]
                short = self._bounds.of(rows)
        nearest = np.argmax(rows @ self._pivots.T, axis=1)
        for cell in np.unique(nearest):
            inside = nearest == cell
            self._cells[cell].extend(rows[inside])
            if short is not None:
                self._short[cell].extend(short[inside])


class _Bounds:
    """What the cosine of two rows is at most, as a product of a few numbers of each.

    x.y = x1.y1 + x2.y2, of the parts inside and outside of a subspace, and x2.y2 <= |x2||y2| (Cauchy and
    Schwarz). The subspace is that of the first principal axes, where most of a row lies.
    """

    def __init__(self, rows: Float[np.ndarray, "n d"]) -> None:
        self._axes = np.linalg.svd(rows, full_matrices=False)[2][: _SHORT - 1].T.copy()

    def of(self, unit: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m s"]:
        inside = unit @ self._axes
        outside = np.sqrt(np.maximum(1.0 - np.square(inside).sum(axis=1, keepdims=True), 0.0))
        return np.concatenate([inside, outside], axis=1)


def _reaching(products: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Where they are at least that; few rows have such a place, and only these are searched for it."""
    rows = np.flatnonzero(np.max(products, axis=1) >= least)
    some, columns = np.nonzero(products[rows] >= least)
    return rows[some], columns


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _threshold(unit: np.ndarray) -> float:
    some = unit[evenly_spaced(len(unit), 2_048)]
    similar = some @ some.T
    np.fill_diagonal(similar, -1.0)
    return float(np.clip(np.quantile(similar.max(axis=1), _QUANTILE), *_RANGE))
