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

_TILE = 8_192
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
        self._variance = np.concatenate([self._covariance.diagonal(block) for block in _blocks(pool)])
        self._floor = resolution(pool.dtype, self._variance)
        self._tiles = [_Tile(np.arange(i, min(i + _TILE, n))) for i in range(0, n, _TILE)]
        self._bounds = np.array([self._score(tile).max() for tile in self._tiles])
        self._rounds = 0
        self.recomputed = 0
        if outside is not None:
            self._observe(self._covariance.observed(outside))

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
        self._observe(self._covariance.observed(self._pool[fresh]))
        self._observed[cluster] = True
        self._rounds += 1
        return LazyPick(cluster, variance)

    def _best(self) -> int | None:
        """The eligible row of largest variance, after refreshing every tile that might hold a larger one."""
        settled = np.zeros(len(self._tiles), bool)
        while not settled.all():
            i = int(np.argmax(np.where(settled, -np.inf, self._bounds)))
            if self._bounds[i] < np.max(self._bounds[settled], initial=0.0):
                break
            if self._tiles[i].filled < self._seen.count:
                self._refresh(self._tiles[i])
                self._drop_columns()
            # Rows observed since lower the bound of a tile that is up to date as well.
            self._bounds[i], settled[i] = self._score(self._tiles[i]).max(), True
        best = self._bounds.max()
        if best <= 0:
            return None
        tied = [self._tiles[i] for i in np.flatnonzero(settled & (self._bounds == best))]
        rows = np.concatenate([tile.rows[self._score(tile) == best] for tile in tied])
        return int(rows[np.argmax(self._priority[rows])])

    def _score(self, tile: _Tile) -> np.ndarray:
        variance = self._variance[tile.rows]
        eligible = ~self._observed[tile.rows] & (variance > self._floor[tile.rows])
        return np.where(eligible, variance, -1.0)

    def _refresh(self, tile: _Tile) -> None:
        """Bring one tile up to date with every observed row."""
        seen, count = self._seen, self._seen.count
        points = np.asarray(self._pool[tile.rows])
        squares = self._covariance.squares[tile.rows]
        variance = self._variance[tile.rows]
        bound = variance if tile.filled else self._covariance.diagonal(points)
        columns = tile.room(count, points.dtype)
        for start in range(tile.filled, count, _PANEL):
            stop = min(start + _PANEL, count)
            panel = self._covariance(seen.points[start:stop], points, squares)
            panel -= seen.factor[start:stop, :start] @ columns[:start]
            columns[start:stop] = _solve(seen.factor[start:stop, start:stop], panel)
            bound = bound - np.einsum("ij,ij->j", columns[start:stop], columns[start:stop])
        tile.filled = count
        # Computed again from its first column on, a bound may come out larger by rounding.
        self._variance[tile.rows] = np.clip(bound, 0.0, variance)
        self.recomputed += len(tile.rows)

    def _drop_columns(self) -> None:
        held = sum(tile.size for tile in self._tiles)
        for i in np.argsort(self._bounds):
            if held <= self._memory:
                return
            held -= self._tiles[i].size
            self._tiles[i].drop()

    def _sort(self) -> None:
        """Bring everything up to date and regroup: rows of similar variance become stale together."""
        count = self._seen.count
        keep = 2 * self._variance.nbytes * count <= self._memory
        for tile in self._tiles:
            self._refresh(tile)
            if not keep:
                tile.drop()
        order = np.argsort(-self._variance, kind="stable")
        place = np.empty_like(order)
        for i, tile in enumerate(self._tiles):
            place[tile.rows] = np.arange(len(tile.rows)) + i * _TILE
        old = [tile.columns for tile in self._tiles]
        self._tiles = [_Tile(order[i : i + _TILE]) for i in range(0, len(order), _TILE)]
        self._bounds = np.array([self._score(tile).max() for tile in self._tiles])
        for tile in self._tiles if keep else ():
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
        row = _solve(self.factor[:count, :count], covariance.among(self.points[:count], point))
        variance = prior - float(row @ row)
        if variance <= resolution(self.points.dtype, prior):
            return
        self.points[count] = point
        self.factor[count, :count] = row
        self.factor[count, count] = np.sqrt(variance + noise)
        self.count += 1


class _Covariance:
    """k between observed points and rows of the pool, on the host.

    For an RBF kernel the observed points are centred and the pool's rows are not: with the squared norms of
    the centred rows, (x - mean) . (y - mean) = (x - mean) . y - (x - mean) . mean needs no centred copy.

    Attributes:
        squares: (n,) squared norms of the centred rows of the pool.
    """

    def __init__(self, kernel: Kernel, pool: Any) -> None:
        self._kernel = kernel
        scale = rbf_length_scale(kernel)
        self._scale = None if scale is None else float(scale)
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in _blocks(pool)) / pool.shape[0]
        self._mean = mean.astype(pool.dtype)
        self.squares = np.concatenate([self._square(block - self._mean) for block in _blocks(pool)])

    def observed(self, rows: Any) -> np.ndarray:
        """Rows as they are kept once observed."""
        return np.asarray(rows) if self._scale is None else np.asarray(rows) - self._mean

    def diagonal(self, rows: np.ndarray) -> np.ndarray:
        if self._scale is not None:
            return np.ones(len(rows), rows.dtype)
        return np.array(diagonal(self._kernel, jnp.asarray(rows)))

    def among(self, points: np.ndarray, point: np.ndarray) -> np.ndarray:
        """(len(points),) covariances of observed points with one more."""
        if self._scale is None:
            return self(points, point[None], np.zeros(1))[:, 0]
        return np.exp(np.sum((points - point) ** 2, axis=1) * (-0.5 / self._scale**2))

    def __call__(self, points: np.ndarray, rows: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """(len(points), len(rows)) covariances of observed points with rows of the pool, a new array."""
        if self._scale is None:
            values = _gram(self._kernel, _padded(points), _padded(rows))
            return np.asarray(values)[: len(points), : len(rows)].copy()
        values = (points * (1.0 / self._scale**2)) @ rows.T
        values -= ((0.5 * self._square(points) + points @ self._mean) / self._scale**2)[:, None]
        values -= (0.5 / self._scale**2) * squares
        np.minimum(values, 0.0, out=values)
        return np.exp(values, out=values)

    def distances(self, pool: Any, row: int) -> np.ndarray:
        """Squared Euclidean distances of every row of the pool to one of them: one pass."""
        center = np.asarray(pool[row]) - self._mean
        products = np.concatenate([block @ center for block in _blocks(pool)])
        products -= self._mean @ center
        return np.maximum(self.squares + self.squares[row] - 2.0 * products, 0.0)

    @staticmethod
    def _square(rows: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", rows, rows)


_gram = eqx.filter_jit(gram)


def _padded(rows: np.ndarray) -> jax.Array:
    """Zero rows up to a power of two, so that few shapes are compiled."""
    size = 1 << max(len(rows) - 1, 0).bit_length()
    return jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0))))


def _blocks(pool: Any, size: int = 65_536) -> Iterator[np.ndarray]:
    for start in range(0, pool.shape[0], size):
        yield np.asarray(pool[start : start + size])


def _solve(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    if len(factor) == 0:
        return right
    return solve_triangular(factor, right, lower=True, check_finite=False)
