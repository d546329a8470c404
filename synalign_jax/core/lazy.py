"""Maximum-variance selection on a pool whose Cholesky factor does not fit in memory, with the exact picks.

Variance only falls as rows are observed, so a stale variance is an upper bound (Minoux, "Accelerated greedy
algorithms for maximizing submodular set functions", 1978). Rows are kept in tiles of similar variance; a tile
is brought up to date only while its largest stale variance could still beat the best row known exactly.

NumPy on the host: the pool may be a memory map, and the work that is left has a new shape every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular

from .kernels import Kernel, diagonal, gram, rbf_length_scale
from .posterior import resolution

_TILE = 16_384
_PANEL = 512
# Rounds after which rows are sorted into tiles anew: early, when variances part from their common start.
_SORT_AFTER = (8, 32, 128)


class LazyPick(NamedTuple):
    cluster: np.ndarray
    variance: float


class LazyExplorer:
    """One `pick` a round.

    Attributes:
        recomputed: variances brought up to date so far, summed over rounds.
        rows_left: whether a row is unobserved.
    """

    def __init__(
        self,
        pool: Any,
        kernel: Kernel,
        *,
        neighbors: int,
        priority: np.ndarray,
        noise: float,
        outside: np.ndarray | None = None,
        memory: int = 6 << 30,
    ) -> None:
        """
        Args:
            pool: (n, d) floating rows, possibly memory-mapped.
            kernel: any tinygp kernel; RBF needs no compilation.
            neighbors: rows of a cluster beside its centre.
            priority: (n,) decides between rows of equal variance.
            noise: sigma_n^2.
            outside: (o, d) rows observed elsewhere.
            memory: bytes for factor columns. Columns of the least promising tiles are dropped when it is full
                and computed again when they are needed.
        """
        n = pool.shape[0]
        self._pool, self._neighbors, self._noise, self._priority = pool, neighbors, noise, priority
        self._memory = memory
        self._covariance = _Covariance(kernel, pool)
        self._observed = np.zeros(n, bool)
        # The observed points with variance of their own, and the rows of their Cholesky factor.
        self._seen = _Observations(pool.shape[1], pool.dtype)
        self._variance = np.concatenate([self._covariance.diagonal(block) for _, block in _blocks(pool)])
        self._floor = resolution(pool.dtype, self._variance)
        self._tiles = [_Tile(np.arange(i, min(i + _TILE, n))) for i in range(0, n, _TILE)]
        self._rounds = 0
        self.recomputed = 0
        if outside is not None:
            self._observe(self._covariance.centre(outside))

    @property
    def rows_left(self) -> bool:
        return not self._observed.all()

    def pick(self) -> LazyPick | None:
        """The next cluster, centre first; None when no unobserved row has variance left."""
        if self._rounds in _SORT_AFTER:
            self._sort()
        center = self._best()
        if center is None:
            return None
        variance = float(self._variance[center])
        cluster = self._nearest(center)
        fresh = cluster[~self._observed[cluster]]
        self._observe(self._covariance.centre(self._pool[fresh]))
        self._observed[cluster] = True
        self._rounds += 1
        return LazyPick(cluster, variance)

    def _best(self) -> int | None:
        """The eligible row of largest variance, after refreshing every tile that might hold a larger one."""
        bounds = np.array([self._score(tile).max() for tile in self._tiles])
        stale = np.array([tile.filled < self._seen.count for tile in self._tiles])
        while np.any(stale & (bounds > 0) & (bounds >= np.max(bounds[~stale], initial=0.0))):
            i = int(np.argmax(np.where(stale, bounds, -1.0)))
            self._refresh(self._tiles[i], bounds)
            bounds[i], stale[i] = self._score(self._tiles[i]).max(), False
        best = bounds.max()
        if best <= 0:
            return None
        rows = np.concatenate(
            [t.rows[self._score(t) == best] for t, b, old in zip(self._tiles, bounds, stale, strict=True)
             if b == best and not old]
        )  # fmt: skip
        return int(rows[np.argmax(self._priority[rows])])

    def _score(self, tile: _Tile) -> np.ndarray:
        variance = self._variance[tile.rows]
        eligible = ~self._observed[tile.rows] & (variance > self._floor[tile.rows])
        return np.where(eligible, variance, -1.0)

    def _refresh(self, tile: _Tile, bounds: np.ndarray | None = None) -> None:
        """Bring one tile up to date with every observed row."""
        seen, count = self._seen, self._seen.count
        points = self._covariance.centre(self._pool[tile.rows])
        rebuilt = tile.columns is None
        variance = self._covariance.diagonal(points) if rebuilt else self._variance[tile.rows]
        columns = tile.room(count, points.dtype)
        for start in range(tile.filled, count, _PANEL):
            stop = min(start + _PANEL, count)
            panel = self._covariance(seen.points[start:stop], points)
            panel -= seen.factor[start:stop, :start] @ columns[:start]
            columns[start:stop] = _solve(seen.factor[start:stop, start:stop], panel)
            variance = variance - np.einsum("ij,ij->j", columns[start:stop], columns[start:stop])
        tile.filled = count
        # A rebuilt variance differs from the kept bound by rounding; the smaller keeps it monotone.
        self._variance[tile.rows] = np.clip(variance, 0.0, self._variance[tile.rows])
        self.recomputed += len(tile.rows)
        if bounds is not None:
            self._drop_columns(bounds)

    def _drop_columns(self, bounds: np.ndarray) -> None:
        held = sum(tile.size for tile in self._tiles)
        for i in np.argsort(bounds):
            if held <= self._memory:
                return
            held -= self._tiles[i].size
            self._tiles[i].drop()

    def _sort(self) -> None:
        """Bring everything up to date and regroup: rows of similar variance become stale together."""
        for tile in self._tiles:
            self._refresh(tile)
        order = np.argsort(-self._variance, kind="stable")
        place = np.empty_like(order)
        for i, tile in enumerate(self._tiles):
            place[tile.rows] = np.arange(len(tile.rows)) + i * _TILE
        count, old = self._seen.count, [tile.columns for tile in self._tiles]
        self._tiles = [_Tile(order[i : i + _TILE]) for i in range(0, len(order), _TILE)]
        for tile in self._tiles:
            columns = tile.room(count, self._pool.dtype)
            source = place[tile.rows]
            for i in np.unique(source // _TILE):
                take = source // _TILE == i
                columns[:count, take] = old[i][:count, source[take] - i * _TILE]
            tile.filled = count

    def _observe(self, points: np.ndarray) -> None:
        """Append rows to the factor of the observed; rows without variance of their own are left out."""
        for point in points:
            self._seen.append(point, self._covariance, self._noise)

    def _nearest(self, center: int) -> np.ndarray:
        distance = self._covariance.distances(self._pool, center)
        distance[center] = -1.0
        nearest = np.argpartition(distance, self._neighbors)[: self._neighbors + 1]
        return nearest[np.argsort(distance[nearest], kind="stable")]


class _Tile:
    """Rows that are refreshed together, and their columns of the factor as far as they are filled."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.columns: np.ndarray | None = None
        self.filled = 0

    @property
    def size(self) -> int:
        return 0 if self.columns is None else self.filled * len(self.rows) * self.columns.itemsize

    def room(self, count: int, dtype: np.dtype) -> np.ndarray:
        """The columns, grown to hold `count` rows; untouched rows of an empty array take no memory."""
        if self.columns is None or len(self.columns) < count:
            grown = np.empty((max(1024, 2 * count), len(self.rows)), dtype)
            if self.columns is not None:
                grown[: self.filled] = self.columns[: self.filled]
            self.columns = grown
        return self.columns

    def drop(self) -> None:
        self.columns, self.filled = None, 0


class _Observations:
    """The observed points and the lower Cholesky factor of their covariance plus noise, grown row by row."""

    def __init__(self, width: int, dtype: np.dtype) -> None:
        self.count = 0
        self.points = np.empty((256, width), dtype)
        self.factor = np.zeros((256, 256), dtype)

    def append(self, point: np.ndarray, covariance: _Covariance, noise: float) -> None:
        count = self.count
        if count == len(self.points):
            self.points = np.concatenate([self.points, np.empty_like(self.points)])
            self.factor = np.pad(self.factor, ((0, count), (0, count)))
        prior = float(covariance.diagonal(point[None])[0])
        row = _solve(
            self.factor[:count, :count], covariance(self.points[:count], point[None])
        )[:, 0]  # fmt: skip
        variance = prior - float(row @ row)
        if variance <= resolution(self.points.dtype, prior):
            return
        self.points[count] = point
        self.factor[count, :count] = row
        self.factor[count, count] = np.sqrt(variance + noise)
        self.count += 1


class _Covariance:
    """k between blocks of rows, on the host; rows of an RBF kernel are centred first."""

    def __init__(self, kernel: Kernel, pool: Any) -> None:
        self._kernel = kernel
        scale = rbf_length_scale(kernel)
        self._scale = None if scale is None else float(scale)
        mean = sum(block.sum(axis=0, dtype=np.float64) for _, block in _blocks(pool)) / pool.shape[0]
        self._mean = mean.astype(pool.dtype)
        self._squares = np.concatenate([np.sum((b - self._mean) ** 2, axis=1) for _, b in _blocks(pool)])

    def centre(self, rows: Any) -> np.ndarray:
        return np.asarray(rows) if self._scale is None else np.asarray(rows) - self._mean

    def diagonal(self, rows: np.ndarray) -> np.ndarray:
        if self._scale is not None:
            return np.ones(len(rows), rows.dtype)
        return np.array(diagonal(self._kernel, jnp.asarray(rows)))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(len(x), len(y)) covariances of centred rows, in memory of its own."""
        if self._scale is None:
            values = _gram(self._kernel, _padded(x), _padded(y))
            return np.asarray(values)[: len(x), : len(y)].copy()
        values = x @ (y.T * (1.0 / self._scale**2))
        values -= np.sum(x * x, axis=1)[:, None] * (0.5 / self._scale**2)
        values -= np.sum(y * y, axis=1)[None, :] * (0.5 / self._scale**2)
        np.minimum(values, 0.0, out=values)
        return np.exp(values, out=values)

    def distances(self, pool: Any, row: int) -> np.ndarray:
        """Squared Euclidean distances of every row of the pool, as stored, to one of them: one pass."""
        center = np.asarray(pool[row]) - self._mean
        products = np.concatenate([block @ center for _, block in _blocks(pool)])
        # (x - mean) . center without a centred copy of the pool.
        products -= self._mean @ center
        return np.maximum(self._squares + self._squares[row] - 2.0 * products, 0.0)


_gram = eqx.filter_jit(gram)


def _padded(rows: np.ndarray) -> jax.Array:
    """Zero rows up to a power of two, so that few shapes are compiled."""
    size = 1 << max(len(rows) - 1, 0).bit_length()
    return jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0))))


def _blocks(pool: Any, size: int = 65_536) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, pool.shape[0], size):
        yield start, np.asarray(pool[start : start + size])


def _solve(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    if len(factor) == 0:
        return right
    return solve_triangular(factor, right, lower=True, check_finite=False)
