"""Do two sets still differ? A permutation test on MMD^2."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from synalign_jax.core.checks import InputError, as_floats, check_rows, check_weights
from synalign_jax.core.kernels import Kernel, gram, pooled_rbf
from synalign_jax.core.resample import resample

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
    check_rows("x", x, min_rows=2)
    check_rows("y", y, min_rows=2, width=x.shape[1])
    if permutations < 1:
        raise InputError(f"permutations: {permutations}; at least one is needed")
    x_key, y_key, order_key = jax.random.split(key, 3)
    first = _sample("x", x, x_weights, max_rows, x_key)
    second = _sample("y", y, y_weights, max_rows, y_key)
    kernel = pooled_rbf(first, second) if kernel is None else kernel
    observed, null = _permute(
        kernel, jnp.concatenate([first, second]), first.shape[0], permutations, order_key
    )
    null = np.asarray(null)
    # Values equal up to rounding count as ties, so that duplicates do not look significant.
    reached = np.count_nonzero(null >= float(observed) - 1e-6 * abs(float(observed)))
    return TwoSampleTest(
        mmd2=float(observed),
        p_value=float(1 + reached) / (1 + permutations),
        quantiles={level: float(np.quantile(null, level)) for level in _LEVELS},
        null=null,
    )


def _sample(name: str, rows: Any, weights: Any, limit: int, key: PRNGKeyArray) -> Float[Array, "rows d"]:
    count = rows.shape[0]
    if weights is None:
        chosen = np.arange(count)
        if count > limit:
            chosen = np.sort(np.asarray(jax.random.permutation(key, count))[:limit])
        return jnp.asarray(rows[chosen])
    check_weights(f"{name}_weights", weights, count)
    shares = np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
    effective = int(np.clip(round(1.0 / np.sum(shares**2)), 2, limit))
    # Systematic draws repeat a row only where its weight asks for it; repeats would look like structure.
    drawn = resample(shares, effective, key=key, method="systematic")
    return jnp.asarray(rows[np.sort(drawn)])


@partial(jax.jit, static_argnames=("n", "permutations"))
def _permute(
    kernel: Kernel, pooled: Float[Array, "t d"], n: int, permutations: int, key: PRNGKeyArray
) -> tuple[Float[Array, ""], Float[Array, " permutations"]]:
    """MMD^2 is s' K s with s = 1/n on one set and -1/m on the other: a permutation shuffles s."""
    K = gram(kernel, pooled, pooled)
    # s sums to 0, so K may be centred; that keeps float32 digits.
    means = jnp.mean(K, axis=0)
    K = K - means[:, None] - means[None, :] + jnp.mean(means)
    total = pooled.shape[0]
    signs = jnp.where(jnp.arange(total) < n, 1.0 / n, -1.0 / (total - n)).astype(K.dtype)
    shuffled = jax.vmap(lambda k: jax.random.permutation(k, signs), out_axes=1)(
        jax.random.split(key, permutations)
    )
    columns = jnp.concatenate([signs[:, None], shuffled], axis=1)
    values = jnp.sum(columns * jnp.matmul(K, columns, precision=jax.lax.Precision.HIGHEST), axis=0)
    return values[0], values[1:]
