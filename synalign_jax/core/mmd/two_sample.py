"""Do two sets still differ? A permutation test on MMD^2."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from synalign_jax.core.checks import InputError, as_floats, check_prng_key, check_rows, check_weights
from synalign_jax.core.kernels import Kernel, pooled_rbf
from synalign_jax.core.padding import host_gram
from synalign_jax.core.resample import systematic

_MAX_ROWS = 4_096
_LEVELS = (0.5, 0.9, 0.95, 0.99)


class TwoSampleTest(NamedTuple):
    """`p_value` is the chance of a statistic at least this large if both sets had one law.

    `quantiles` maps 0.5, 0.9, 0.95 and 0.99 to the null's quantiles: below the 0.95 one, MMD^2 is noise.
    """

    mmd2: float
    p_value: float
    quantiles: dict[float, float]
    null: np.ndarray


def two_sample_test(
    x: Any,
    y: Any,
    *,
    key: PRNGKeyArray,
    permutations: int = 500,
    x_weights: Any = None,
    y_weights: Any = None,
    kernel: Kernel | None = None,
    max_rows: int = _MAX_ROWS,
) -> TwoSampleTest:
    """Test whether the weighted rows of `x` and of `y` come from one law.

    Rows are assigned to the two sets anew `permutations` times, and MMD^2 (V-statistic) is computed for
    each. Weighted rows are not exchangeable, so a weighted set is first resampled, systematically by its
    weights, to its effective sample size; the test then speaks of sets drawn by the weights. Weights that
    were fitted to `x` hide differences: test against real rows that the fit did not see.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 5 (bootstrap on the
    aggregated data); p-value with the observed statistic counted, Phipson & Smyth 2010.

    Args:
        x: (n, d) rows.
        y: (m, d) rows.
        key: randomness of the permutations, and of the rows drawn.
        permutations: how many; the smallest p-value possible is 1 / (permutations + 1).
        x_weights: (n,) relative weights or None.
        y_weights: (m,) relative weights or None.
        kernel: any tinygp kernel; None is RBF with the median distance of the pooled rows.
        max_rows: rows kept of a larger set, drawn without replacement: memory grows with their square.

    Raises:
        InputError: bad rows or weights, fewer than two rows a side, or no permutations.
    """
    x, y = as_floats(x), as_floats(y)
    check_prng_key(key)
    check_rows("x", x, min_rows=2)
    check_rows("y", y, min_rows=2, width=x.shape[1])
    if permutations < 1:
        raise InputError(f"permutations: {permutations}; at least one is needed")
    # NumPy's shuffles: JAX compiles a sort for every number of rows, which takes longer than the test.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    first = _sample("x", x, x_weights, max_rows, rng)
    second = _sample("y", y, y_weights, max_rows, rng)
    kernel = pooled_rbf(first, second) if kernel is None else kernel
    values = _permuted(kernel, np.concatenate([first, second]), len(first), permutations, rng)
    observed, null = values[0], values[1:]
    # Values equal up to rounding count as ties, so that duplicates do not look significant.
    reached = np.count_nonzero(null >= float(observed) - 1e-6 * abs(float(observed)))
    return TwoSampleTest(
        mmd2=float(observed),
        p_value=float(1 + reached) / (1 + permutations),
        quantiles={level: float(np.quantile(null, level)) for level in _LEVELS},
        null=null,
    )


def _sample(name: str, rows: Any, weights: Any, limit: int, rng: np.random.Generator) -> np.ndarray:
    count = rows.shape[0]
    if weights is None:
        chosen = np.arange(count) if count <= limit else np.sort(rng.choice(count, limit, replace=False))
        return np.asarray(rows[chosen])
    check_weights(f"{name}_weights", weights, count)
    shares = np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
    effective = int(np.clip(round(1.0 / np.sum(shares**2)), 2, limit))
    # Systematic draws repeat a row only where its weight asks for it; repeats would look like structure.
    return np.asarray(rows[np.sort(systematic(shares, effective, float(rng.random())))])


def _permuted(
    kernel: Kernel, pooled: np.ndarray, n: int, permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, " permutations_and_one"]:
    """MMD^2 as it is and after each permutation.

    It is s' K s with s = 1/n on one set and -1/m on the other: a permutation shuffles s.
    """
    K = host_gram(kernel, pooled, pooled)
    # s sums to 0, so K may be centred; that keeps float32 digits.
    means = K.mean(axis=0)
    K = K - means[:, None] - means[None, :] + means.mean()
    total = len(pooled)
    signs = np.where(np.arange(total) < n, 1.0 / n, -1.0 / (total - n)).astype(K.dtype)
    columns = np.concatenate([signs[None], rng.permuted(np.tile(signs, (permutations, 1)), axis=1)]).T
    return np.sum(columns * (K @ columns), axis=0)
