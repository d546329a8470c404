"""The observed points of a pool whose factor is not kept: covariances, and the inverse of their factor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synalign_jax.core.kernels import Kernel, diagonal, rbf_length_scale
from synalign_jax.core.padding import host_gram

from .search import distance_error, known_below

_STRIP = 512  # rows of a triangular matrix that are multiplied together


class HostCovariance:
    """k between observed points and rows of the pool, on the host.

    For an RBF kernel the exponent -|x - p|^2 / (2 l^2) is one matrix product: of an observed point's terms
    [p / l^2, -(|p|^2 / 2 + p . mean) / l^2, 1] with a row's terms [x, 1, -|x - mean|^2 / (2 l^2)], where p
    is centred. Centring keeps the sums short; the pool's rows need no centred copy.
    """

    def __init__(self, kernel: Kernel, pool: Any) -> None:
        self._kernel, self._pool = kernel, pool
        scale = rbf_length_scale(kernel)
        self._precision = None if scale is None else 1.0 / float(scale) ** 2
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(pool)) / pool.shape[0]
        # In the pool's precision: what is taken off the pool's rows there, and in float64 off observed ones.
        self._mean = mean.astype(pool.dtype)
        self._squares = np.concatenate([_squares(block - self._mean) for block in blocks(pool)])

    def observed(self, points: Any) -> np.ndarray:
        """Points as they are kept once observed: in float64, for rows that are nearly copies."""
        points = np.asarray(points, np.float64)
        return points if self._precision is None else points - self._mean

    def diagonal(self, points: np.ndarray) -> np.ndarray:
        """(b,) variances before any observation."""
        if self._precision is not None:
            return np.ones(len(points), points.dtype)
        with jax.enable_x64(points.dtype == np.float64):
            return np.array(diagonal(self._kernel, jnp.asarray(points)))

    def among(self, points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(len(points), len(others)) covariances of observed points in float64."""
        if self._precision is None:
            with jax.enable_x64(True):
                return host_gram(self._kernel, np.asarray(points, np.float64), np.asarray(others, np.float64))
        points, others = points.astype(np.float64, copy=False), others.astype(np.float64, copy=False)
        exponent = points @ others.T
        exponent -= 0.5 * _squares(points)[:, None]
        exponent -= 0.5 * _squares(others)
        return np.exp(np.minimum(exponent, 0.0) * self._precision)

    def point_terms(self, points: np.ndarray) -> np.ndarray:
        """(b, terms) what `__call__` needs of observed points."""
        if self._precision is None:
            return points
        offset = -(0.5 * _squares(points) + points @ self._mean)[:, None]
        return np.hstack([self._precision * points, self._precision * offset, np.ones_like(offset)])

    def row_terms(self, rows: np.ndarray) -> np.ndarray:
        """(b, terms) what `__call__` needs of rows of the pool."""
        points = np.asarray(self._pool[rows])
        if self._precision is None:
            return points
        half = (-0.5 * self._precision * self._squares[rows])[:, None]
        return np.hstack([points, np.ones_like(half), half])

    def __call__(self, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(len(points), len(rows)) covariances, from the terms of both."""
        if self._precision is None:
            return host_gram(self._kernel, points, rows)
        exponent = points @ rows.T
        return np.exp(exponent, out=exponent)

    def distances(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Squared Euclidean distances of some rows to every row of the pool, in one pass over it.

        Yields:
            the first row of a block, and (len(rows), size of the block) distances.
        """
        centers = np.asarray(self._pool[rows]) - self._mean
        offsets = self._squares[rows] + 2.0 * centers @ self._mean
        start = 0
        for block in blocks(self._pool):
            squares = self._squares[start : start + len(block)]
            yield start, _distances(-2.0 * centers, block, squares, offsets)
            start += len(block)

    def distance_error(self, row: Any, others: Any) -> np.ndarray:
        """How far the distances of a row to others, in `distances`, may be off."""
        return distance_error(self._squares[row] + self._squares[others])

    def exact_distances(self, row: Any, others: np.ndarray) -> np.ndarray:
        """Squared distances of a row to others, equal where they are to eleven digits."""
        center = np.asarray(self._pool[row], np.float64)
        parts = np.array_split(others, -(-len(others) // 65_536) or 1)
        squared = np.concatenate([_squares(self._pool[part].astype(np.float64) - center) for part in parts])
        unit = 10.0 ** np.floor(np.log10(squared, where=squared > 0, out=np.zeros_like(squared)) - 10.0)
        return np.round(squared / unit) * unit


class Observations:
    """The observed points that were not known before, and the inverse of their Cholesky factor.

    Attributes:
        count: how many there are.
        points: (room, d) as `HostCovariance.observed` gives them.
        precise: (room, room) the inverse of the factor, `whitener`, in float64.
        terms: (room, terms) of the points, for HostCovariance.
        whitener: (room, room) in the pool's precision; with C the points' covariance plus noise, its filled
            part W has W C W' = I and is lower triangular, so W k(points, x) is x's column of the pool's
            factor.
    """

    def __init__(self, covariance: HostCovariance, dtype: np.dtype, noise: float) -> None:
        self._covariance, self._dtype, self._noise = covariance, dtype, noise
        self.count = 0
        # Rows of W are made from earlier rows, so these are kept more precisely than they are used.
        self.points, self.precise = np.zeros((0, 0)), np.zeros((0, 0))
        self.terms = np.empty((0, 0), dtype)
        self.whitener = np.zeros((0, 0), dtype)

    def append(self, points: np.ndarray) -> None:
        """Add points, leaving out those known already; by blocks, to read W less often."""
        if not len(points):
            return
        points = self._covariance.observed(points)
        for start in range(0, len(points), 64):
            self._append_block(points[start : start + 64])

    def columns(self, points: np.ndarray) -> np.ndarray:
        """(count, b) columns of the factor at points as `HostCovariance.observed` gives them, in float64."""
        if not self.count:
            return np.zeros((0, len(points)))
        covariance = self._covariance.among(self.points[: self.count], points)
        return _triangular_product(self.precise[: self.count, : self.count], covariance)

    def _append_block(self, points: np.ndarray) -> None:
        old = self.count
        self._make_room(old + len(points), points.shape[1])
        covariance, whitener = self._covariance, self.precise[:old, :old]
        columns = self.columns(points)
        own = covariance.among(points, points)
        floor = known_below(covariance.diagonal(points))
        kept: list[int] = []
        inner = np.zeros((0, 0))  # the whitener of what the kept points have left
        for i in range(len(points)):
            within = own[[*kept, i], i] - columns[:, [*kept, i]].T @ columns[:, i]
            row = inner @ within[:-1]
            variance = within[-1] - row @ row
            if variance <= floor[i]:
                continue
            root = np.sqrt(variance + self._noise)
            inner = np.block(
                [[inner, np.zeros((len(kept), 1))], [-(row @ inner)[None] / root, np.full((1, 1), 1 / root)]]
            )
            kept.append(i)
        new = slice(old, old + len(kept))
        self.points[new] = points[kept]
        self.terms[new] = covariance.point_terms(points[kept])
        self.precise[new, :old] = -inner @ _triangular_product(whitener, columns[:, kept], transpose=True).T
        self.precise[new, new] = inner
        self.count += len(kept)
        self.whitener[new, : self.count] = self.precise[new, : self.count]

    def _make_room(self, rows: int, width: int) -> None:
        old, room = len(self.points), max(rows, 256, 2 * len(self.points))
        if rows <= old:
            return
        terms = self._covariance.point_terms(np.zeros((1, width), self.terms.dtype)).shape[1]
        self.points = _grown(self.points, (room, width), self.count)
        self.terms = _grown(self.terms, (room, terms), self.count)
        self.whitener = _grown(self.whitener, (room, room), self.count)
        self.precise = _grown(self.precise, (room, room), self.count)


def _distances(
    centers: np.ndarray, block: np.ndarray, squares: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """(c, b) centers @ block.T + squares + offsets, for few centres and many rows."""
    if block.dtype != np.float32:  # JAX would round it
        return centers @ block.T + squares + offsets[:, None]
    # XLA takes half of NumPy's time for a product of this shape.
    values = _fused_distances(_padded(centers), block, squares, _padded(offsets[:, None]))
    return np.asarray(values)[: len(centers)]


@jax.jit
def _fused_distances(
    centers: Float[Array, "c d"],
    block: Float[Array, "b d"],
    squares: Float[Array, " b"],
    offsets: Float[Array, "c 1"],
) -> Float[Array, "c b"]:
    return jnp.matmul(centers, block.T, precision=jax.lax.Precision.HIGHEST) + squares + offsets


def _triangular_product(lower: np.ndarray, x: np.ndarray, *, transpose: bool = False) -> np.ndarray:
    """lower @ x, or lower.T @ x, by strips that leave out most of the zeros."""
    matrix = lower.T if transpose else lower
    out = np.empty_like(x)
    for start in range(0, len(matrix), _STRIP):
        strip = slice(start, start + _STRIP)
        filled = slice(start, None) if transpose else slice(None, start + _STRIP)
        out[strip] = matrix[strip, filled] @ x[filled]
    return out


def _grown(old: np.ndarray, shape: tuple[int, int], filled: int) -> np.ndarray:
    # Zeros that are not touched take no memory.
    new = np.zeros(shape, old.dtype)
    new[:filled, : old.shape[1]] = old[:filled]
    return new


def blocks(pool: Any, size: int = 65_536) -> Iterator[np.ndarray]:
    for start in range(0, pool.shape[0], size):
        yield np.asarray(pool[start : start + size])


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)


def _padded(rows: np.ndarray) -> jax.Array:
    """Zero rows up to a power of two, so that few shapes are compiled."""
    size = 1 << max(len(rows) - 1, 0).bit_length()
    return jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0))))
