"""Decisions in float64 between the few rows that the pool's own precision cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from synalign_jax.core.kernels import Kernel

from .neighbors import Neighbors
from .observations import HostCovariance, Observations
from .search import TOGETHER, known_below, spread

# What is left of rounding in float64, by the ill-conditioned covariances between near rows most of all.
_UNIT = 1e-10


class Decision(NamedTuple):
    """The best of some rows; None where none has variance left. `spent` are the rows that have not."""

    center: int | None
    variance: float
    spent: np.ndarray


class Exact:
    """Follows what is observed, and scores a few rows at a time.

    The pool is read where it is asked for; scores depend on its rows, the kernel and what was observed, and
    on no device, so every process on every processor decides the same. Rows whose scores are equal to ten
    digits are ties, and the key decides.
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
        references: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """
        Args:
            pool: (n, d) floating rows, possibly memory-mapped.
            kernel: any tinygp kernel; RBF needs no compilation.
            neighbors: rows of a cluster beside its centre.
            priority: (n,) decides ties.
            noise: sigma_n^2.
            outside: (o, d) rows observed elsewhere.
            references: indices and weights of the rows whose variance is to fall; None scores by variance.
        """
        n = pool.shape[0]
        self.covariance = HostCovariance(kernel, pool)
        self.seen = Observations(self.covariance, pool.dtype, noise)
        self.observed = np.zeros(n, bool)
        self._pool, self._priority, self._noise = pool, priority, noise
        self._neighbors = Neighbors(self.covariance, neighbors)
        if outside is not None:
            self.seen.append(outside)
        self._references: np.ndarray | None = None
        if references is not None:
            rows, weights = references
            self._weights = np.asarray(weights, np.float64)
            self._references = self.covariance.observed(pool[rows])
            # Covariances of the observed rows with the references, and the factor's columns there.
            self._with_references = np.zeros((0, len(rows)))
            self._factor = np.zeros((0, len(rows)))

    def observe(self, cluster: np.ndarray) -> None:
        self.seen.append(self._pool[cluster[~self.observed[cluster]]])
        self.observed[cluster] = True

    def cluster(self, center: int, likely: Callable[[int], np.ndarray] = lambda _: np.zeros(0, int)) -> Any:
        """(neighbors + 1,) the centre and its nearest rows; of rows equally near the first."""
        return self._neighbors.of(center, likely)

    def best(self, rows: np.ndarray, known: int | None = None) -> Decision:
        """The row with the best score.

        Args:
            rows: candidates; of more than `TOGETHER`, those first in priority are compared.
            known: a row to be compared in any case.
        """
        if len(rows) > TOGETHER:
            rows = rows[np.argpartition(-self._priority[rows], TOGETHER)[:TOGETHER]]
            if known is not None and known not in rows:
                rows = np.append(rows[:-1], known)
        points = self.covariance.observed(self._pool[rows])
        prior = self.covariance.diagonal(points)
        columns = self.seen.columns(points)
        variance = np.maximum(prior - np.einsum("ij,ij->j", columns, columns), 0.0)
        live = variance > known_below(prior)
        if self._references is None:
            score, off = variance, spread(_UNIT * prior, variance, self._noise, prior)
        else:
            covariance = self.covariance.among(self._references, points)
            first = self._weights @ covariance**2
            covariance -= self._reference_factor(self._references).T @ columns
            score = self._weights @ covariance**2 / (variance + self._noise)
            off = spread(_UNIT * prior, variance, self._noise, prior, score, first)
        if not live.any():
            return Decision(None, 0.0, rows)
        tied = live & (score + off >= (score - off)[live].max())
        chosen = np.flatnonzero(tied)[np.argmax(self._priority[rows[tied]])]
        return Decision(int(rows[chosen]), float(variance[chosen]), rows[~live])

    def _reference_factor(self, references: np.ndarray) -> np.ndarray:
        """(count, r) of everything observed."""
        done, count = len(self._factor), self.seen.count
        if done < count:
            new = self.covariance.among(self.seen.points[done:count], references)
            self._with_references = np.concatenate([self._with_references, new])
            rows = self.seen.precise[done:count, :count] @ self._with_references
            self._factor = np.concatenate([self._factor, rows])
        return self._factor
