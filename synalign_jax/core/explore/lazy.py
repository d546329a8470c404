"""Maximum-variance selection on a pool whose Cholesky factor does not fit in memory, with the exact picks.

Variance only falls as rows are observed, so a stale variance is an upper bound (Minoux, "Accelerated greedy
algorithms for maximizing submodular set functions", 1978): a round brings up to date only the rows whose
bound could still beat the best row known exactly. Of a row nothing is kept but its variance and how many
observed rows that counts; the inverse of the observed rows' Cholesky factor gives the part that is missing.

NumPy on the host: the pool may be a memory map, and the work that is left has a new shape every time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from synalign_jax.core.kernels import Kernel

from .exact import Exact
from .observations import blocks
from .search import known_below

# Rows brought up to date together at first; twice as many each time that they do not settle the round.
_FIRST_BATCH = 512
# Numbers of one block of covariances.
_BLOCK_VALUES = 2**21
# Rows of the smallest block that is worth a matrix product.
_SMALLEST_BLOCK = 128
# How much less than the most outdated row of a block the others may miss.
_SPREAD = 0.85
# Where a round looks first, in units of the last fall of the variance, and where if that was too high.
_MARGIN = 4.0
_USUAL_FALL = 0.95


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
        self._exact = Exact(
            pool, kernel, neighbors=neighbors, priority=priority, noise=noise, outside=outside
        )
        self._covariance, self._seen = self._exact.covariance, self._exact.seen
        prior = np.concatenate([self._covariance.diagonal(block) for block in blocks(pool)])
        # Rows a little below the floor too: whether they are is decided in float64.
        self._floor = 0.5 * known_below(prior)
        # Within twice what a variance may be off by, the order of two rows is open.
        self._open = 2.0 * known_below(float(prior.max()))
        # The variance, perhaps stale, of the rows that may still be picked; -1 of the others. In the pool's
        # precision: below it, rows are as good as each other.
        self._bound = np.where(prior > self._floor, prior, -1.0).astype(pool.dtype)
        # Which of the observed rows each variance takes into account: so many from the first on.
        self._counted = np.zeros(n, np.int32)
        self._last, self._fall = 0.0, 1.0  # the variance picked last, and by what share it fell
        self.recomputed = 0

    @property
    def rows_left(self) -> bool:
        return not self._exact.observed.all()

    def pick(self) -> LazyPick | None:
        """The next cluster, centre first; None when no unobserved row has variance left."""
        while len(rows := self._best()):
            decision = self._exact.best(rows, known=int(rows[np.argmax(self._bound[rows])]))
            self._bound[decision.spent] = -1.0
            if decision.center is not None:
                cluster = self._exact.cluster(decision.center, self._likely)
                self._exact.observe(cluster)
                self._bound[cluster] = -1.0
                return LazyPick(cluster, decision.variance)
        return None

    def _best(self) -> np.ndarray:
        """The eligible rows among which the largest variance is, after refreshing all that might have it."""
        batch, count, bound = _FIRST_BATCH, self._seen.count, self._bound
        # A round rarely ends far below the one before, so the rows far below are not looked at.
        guesses = [self._last * (1.0 - _MARGIN * self._fall), _USUAL_FALL * self._last, 0.0]
        best = guesses.pop(0)
        rows = np.flatnonzero(bound >= best - self._open)
        while True:
            # Bounds only fall and the best only rises, so no row joins.
            rows = rows[(bound[rows] >= best - self._open) & (bound[rows] > 0)]
            stale = rows[self._counted[rows] < count]
            if not len(stale):
                if not guesses or (len(rows) and bound[rows].max() >= best):
                    break
                best = guesses.pop(0)
                rows = np.flatnonzero(bound >= best - self._open)
                continue
            if len(stale) > batch:
                stale = stale[np.argpartition(-bound[stale], batch)[:batch]]
            self._refresh(stale)
            best = max(best, float(bound[stale].max()))
            batch *= 2
        if len(rows):
            variance = float(bound[rows].max())
            self._fall = 1.0 - variance / self._last if self._last else 1.0
            self._last = variance
            rows = rows[bound[rows] >= variance - self._open]
        return rows

    def _refresh(self, rows: np.ndarray) -> None:
        """Bring the variances of these rows up to date with every observed row."""
        count = self._seen.count
        missing = count - self._counted[rows]
        order = np.argsort(-missing, kind="stable")
        rows, missing = rows[order], missing[order]
        start = 0
        while start < len(rows):
            # A block costs what its most outdated row does, so it ends where rows miss much less.
            end = int(np.searchsorted(-missing, -_SPREAD * missing[start], side="right"))
            end = min(max(end, start + _SMALLEST_BLOCK), start + max(256, _BLOCK_VALUES // count))
            self._refresh_block(np.sort(rows[start:end]))
            start = end
        self._counted[rows] = count
        self.recomputed += len(rows)

    def _refresh_block(self, rows: np.ndarray) -> None:
        seen, count, counted = self._seen, self._seen.count, self._counted[rows]
        first = int(counted.min())
        covariance = self._covariance(seen.terms[:count], self._covariance.row_terms(rows))
        column = seen.whitener[first:count, :count] @ covariance
        # Only the first entries are known already of some rows and not of others.
        last = int(counted.max())
        some, all_new = column[: last - first], column[last - first :]
        some[np.arange(first, last)[:, None] < counted] = 0.0
        explained = np.einsum("ij,ij->j", some, some) + np.einsum("ij,ij->j", all_new, all_new)
        left = self._bound[rows] - explained
        self._bound[rows] = np.where(left > self._floor[rows], left, -1.0)

    def _likely(self, count: int) -> np.ndarray:
        """Rows that may be the next centres: the up-to-date ones of largest variance."""
        rows = np.flatnonzero((self._counted == self._seen.count) & (self._bound > 0))
        if len(rows) <= count:
            return rows
        return rows[np.argpartition(-self._bound[rows], count)[:count]]
