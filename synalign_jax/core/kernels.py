"""Covariance functions. Any tinygp kernel is accepted; RBF takes a matrix-product path."""

from __future__ import annotations

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tinygp import kernels as tk
from tinygp.kernels.distance import L2Distance

from .checks import InputError, check_rows

Kernel = tk.Kernel


def rbf(length_scale: float | Float[Array, ""]) -> tk.ExpSquared:
    """The kernel exp(-||x - y||^2 / (2 length_scale^2)) (SynAlign, section 3.1).

    Raises:
        InputError: a length scale that is not positive and finite.
    """
    if not isinstance(length_scale, jax.core.Tracer) and not (0 < float(length_scale) < float("inf")):
        raise InputError(f"length_scale: {float(length_scale)}; it must be positive and finite")
    return tk.ExpSquared(scale=jnp.asarray(length_scale))


def median_length_scale(x: Float[Array | np.ndarray, "rows width"], *, max_rows: int = 2_000) -> float:
    """The median distance between distinct rows: the usual length scale for a kernel two-sample statistic.

    At most `max_rows` evenly spaced rows are compared. Pairs at distance zero (duplicates) do not count.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 8.

    Raises:
        InputError: fewer than two rows, a bad value, or all rows identical.
    """
    check_rows("x", x, min_rows=2)
    rows = np.unique(np.linspace(0, x.shape[0] - 1, min(max_rows, x.shape[0])).astype(int))
    sample = np.asarray(x[rows], dtype=np.float64)
    sample = sample - sample.mean(axis=0)
    norms = np.sum(sample**2, axis=1)
    squared = norms[:, None] + norms[None, :] - 2.0 * sample @ sample.T
    pairs = squared[np.triu_indices(len(rows), 1)]
    pairs = pairs[pairs > 1e-9 * max(float(norms.max()), 1e-30)]
    if pairs.size == 0:
        raise InputError("x: all rows are identical, so there is no distance to take a length scale from")
    return float(np.sqrt(np.median(pairs)))


def rbf_length_scale(kernel: Kernel) -> Float[Array, ""] | None:
    """The length scale when `kernel` is the Euclidean RBF kernel, else None."""
    if type(kernel) is tk.ExpSquared and type(kernel.distance) is L2Distance:
        return jnp.asarray(kernel.scale)
    return None


def squared_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """||x_i - y_j||^2 by one matrix product, never negative.

    The expansion loses about 1e-7 of the squared norms in float32: centre rows that lie far from the origin.
    """
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None, :] - 2.0 * product
    return jnp.maximum(squared, 0.0)


def gram(kernel: Kernel, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """k(x_i, y_j): one matrix product for RBF, tinygp's vmap for every other kernel."""
    scale = rbf_length_scale(kernel)
    if scale is None:
        return kernel(x, y)
    return jnp.exp(squared_distances(x, y) * (-0.5 / jnp.square(scale)).astype(x.dtype))


def diagonal(kernel: Kernel, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """k(x_i, x_i)."""
    if rbf_length_scale(kernel) is not None:
        return jnp.ones(x.shape[0], x.dtype)
    return kernel(x)
