"""MMD^2 of weighted pool rows to the real rows, where the pool may be too large for all pairs."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from synalign_jax.core.mmd.mmd import mmd2
from synalign_jax.core.padding import padded_cloud
from synalign_jax.core.resample import systematic

from .problem import Problem

_ROWS = 32_768  # rows with weight up to which all pairs are summed: some 3 s on two cores


def distance_to_real(problem: Problem, weights: np.ndarray, key: PRNGKeyArray) -> float:
    """The V-statistic of all rows with weight; of very many, estimated without bias from systematic draws.

    Args:
        problem: whose pool and real rows are compared.
        weights: (size,) of the pool's rows, summing to 1.
        key: where the draws start.
    """
    support = np.flatnonzero(weights)
    inside = weights[support].astype(np.float64)
    if len(support) <= _ROWS or len(problem.real) < 2:
        return _mmd2(problem, support, inside, "v")
    drawn, times = np.unique(systematic(inside, _ROWS, float(jax.random.uniform(key))), return_counts=True)
    shares = times / _ROWS
    apart = _mmd2(problem, support[drawn], shares, "u")
    # The two statistics differ by what rows count with themselves: 1 / n of the real rows' band, and
    # sum w^2 of the pool's, which the draws make another number.
    own = _mmd2(problem, support[drawn], shares, "v") - apart - problem.noise_band
    return apart + problem.noise_band + own * float(inside @ inside) / float(shares @ shares)


def _mmd2(problem: Problem, rows: np.ndarray, weights: np.ndarray, statistic: str) -> float:
    real, real_weights = padded_cloud(problem.real, np.full(len(problem.real), 1.0 / len(problem.real)))
    pool, pool_weights = padded_cloud(problem.take(rows), weights)
    return float(
        mmd2(
            real,
            pool,
            x_weights=real_weights,
            y_weights=pool_weights,
            kernel=problem.kernel,
            statistic=statistic,
        )
    )
