"""Maximum-variance selection on a pool whose Cholesky factor does not fit in memory, with the exact picks.

Variance only falls as rows are observed, so a stale variance is an upper bound (Minoux, "Accelerated greedy
algorithms for maximizing submodular set functions", 1978): a round brings up to date only the rows whose
bound could still beat the best row known exactly. Of a row nothing is kept but its variance and how many
observed rows that counts; the inverse of the observed rows' Cholesky factor gives the part that is missing.

NumPy on the host: the pool may be a memory map, and the work that is left has a new shape every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .kernels import Kernel, diagonal, gram, rbf_length_scale
from .posterior import resolution

# Rows brought up to date together at first; twice as many each time that they do not settle the round.
_FIRST_BATCH = 512
# Numbers of one block of covariances, in float64.
_BLOCK_VALUES = 2**23


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
    ) -> None:
        """
        Args:
            pool: (n, d) floating rows, possibly memory-mapped.
            kernel: any tinygp kernel; RBF needs no compilation.
            neighbors: rows of a cluster beside its centre.
            priority: (n,) decides between rows of equal variance.
            noise: sigma_n^2.
            outside: (o, d) rows observed elsewhere.
        """
        n = pool.shape[0]
        self._pool, self._neighbors, self._priority = pool, neighbors, priority
        self._covariance = _Covariance(kernel, pool)
        self._seen = _Observations(pool.shape[1], pool.dtype, noise)
        self._observed = np.zeros(n, bool)
        prior = np.concatenate([self._covariance.diagonal(block) for block in _blocks(pool)])
        self._floor = resolution(pool.dtype, prior)
        # The variance, perhaps stale, of the rows that may still be picked; -1 of the others. In the pool's
        # precision: below it, rows are as good as each other.
        self._bound = np.where(prior > self._floor, prior, -1.0).astype(pool.dtype)
        # Which of the observed rows each variance takes into account: so many from the first on.
        self._counted = np.zeros(n, np.int32)
        self.recomputed = 0
        if outside is not None:
            self._seen.append(self._covariance.observed(outside), self._covariance)

    @property
    def rows_left(self) -> bool:
        return not self._observed.all()

    def pick(self) -> LazyPick | None:
        """The next cluster, centre first; None when no unobserved row has variance left."""
        center = self._best()
        if center is None:
            return None
        variance = float(self._bound[center])
        cluster = self._nearest(center)
        fresh = cluster[~self._observed[cluster]]
        self._seen.append(self._covariance.observed(self._pool[fresh]), self._covariance)
        self._observed[cluster], self._bound[cluster] = True, -1.0
        return LazyPick(cluster, variance)

    def _best(self) -> int | None:
        """The eligible row of largest variance, after refreshing every row that might have a larger one."""
        batch, bound = _FIRST_BATCH, self._bound
        while True:
            exact = self._counted == self._seen.count
            best = bound[exact].max(initial=0.0)
            # As large is not smaller: a tie is decided by priority among all that share it.
            stale = np.flatnonzero((bound >= best) & (bound > 0) & ~exact)
            if not len(stale):
                break
            if len(stale) > batch:
                stale = stale[np.argpartition(-bound[stale], batch)[:batch]]
            self._refresh(stale)
            batch *= 2
        if best <= 0:
            return None
        rows = np.flatnonzero(bound == best)
        return int(rows[np.argmax(self._priority[rows])])

    def _refresh(self, rows: np.ndarray) -> None:
        """Bring the variances of these rows up to date with every observed row."""
        count = self._seen.count
        # A block costs what its most outdated row does, so rows join those that miss about as much.
        power = np.frexp(count - self._counted[rows])[1]
        size = max(256, _BLOCK_VALUES // count)
        for one in np.unique(power):
            alike = rows[power == one]
            for start in range(0, len(alike), size):
                self._refresh_block(np.sort(alike[start : start + size]))
        self._counted[rows] = count
        self.recomputed += len(rows)

    def _refresh_block(self, rows: np.ndarray) -> None:
        seen, count, counted = self._seen, self._seen.count, self._counted[rows]
        first = int(counted.min())
        covariance = self._covariance(
            seen.points[:count], np.asarray(self._pool[rows]), self._covariance.squares[rows]
        )
        explained = seen.whitener[first:count, :count] @ covariance.astype(np.float64)
        explained *= explained
        explained[np.arange(first, count)[:, None] < counted] = 0.0
        left = self._bound[rows] - explained.sum(axis=0)
        self._bound[rows] = np.where(left > self._floor[rows], left, -1.0)

    def _nearest(self, center: int) -> np.ndarray:
        distance = self._covariance.distances(self._pool, center)
        distance[center] = -1.0
        nearest = np.argpartition(distance, self._neighbors)[: self._neighbors + 1]
        return nearest[np.argsort(distance[nearest], kind="stable")]


class _Observations:
    """The observed points with variance of their own, and the inverse of their Cholesky factor.

    Attributes:
        count: how many there are.
        points: (room, d)
        whitener: (room, room) float64; with C the points' covariance plus noise, its filled part W has
            W C W' = I and is lower triangular, so W k(points, x) is x's column of the pool's factor.
    """

    def __init__(self, width: int, dtype: np.dtype, noise: float) -> None:
        self._noise = noise
        self.count = 0
        self.points = np.empty((256, width), dtype)
        self.whitener = np.zeros((256, 256))

    def append(self, points: np.ndarray, covariance: _Covariance) -> None:
        """Add points, leaving out those without variance of their own; by blocks, to read W less often."""
        for start in range(0, len(points), 64):
            self._append_block(points[start : start + 64], covariance)

    def _append_block(self, points: np.ndarray, covariance: _Covariance) -> None:
        old = self.count
        self._make_room(old + len(points))
        known, whitener = self.points[:old], self.whitener[:old, :old]
        columns = [covariance.among(known, point) for point in points]
        columns = whitener @ np.array(columns, np.float64).reshape(len(points), old).T
        floor = resolution(self.points.dtype, covariance.diagonal(points).astype(np.float64))
        kept: list[int] = []
        inner = np.zeros((0, 0))  # the whitener of what the kept points have left
        for i, point in enumerate(points):
            within = covariance.among(points[[*kept, i]], point).astype(np.float64)
            within -= columns[:, [*kept, i]].T @ columns[:, i]
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
        self.whitener[new, :old] = -inner @ (columns[:, kept].T @ whitener)
        self.whitener[new, new] = inner
        self.count += len(kept)

    def _make_room(self, rows: int) -> None:
        if rows > len(self.points):
            room = max(rows, 2 * len(self.points))
            points, whitener = self.points, self.whitener
            self.points = np.empty((room, points.shape[1]), points.dtype)
            # Zeros that are not touched take no memory.
            self.whitener = np.zeros((room, room))
            self.points[: self.count] = points[: self.count]
            self.whitener[: self.count, : self.count] = whitener[: self.count, : self.count]


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
