"""Covariance functions: any tinygp kernel; Euclidean and linear ones need only matrix products."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tinygp import kernels as tk
from tinygp.kernels.distance import L2Distance

from synalign_jax.core.spacing import evenly_spaced

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


def rbf_mixture(length_scales: Sequence[float], weights: Sequence[float] | None = None) -> Kernel:
    """sum_i weights_i exp(-||x - y||^2 / (2 length_scales_i^2)); weights are 1 / count unless given.

    A mixture over several octaves keeps its power when the right length scale is unknown
    (Li et al., "Generative Moment Matching Networks", ICML 2015, section 4).

    Raises:
        InputError: no length scale, one that is not positive, or another number of weights.
    """
    if weights is None:
        weights = [1.0 / len(length_scales)] * len(length_scales)
    if not length_scales or len(weights) != len(length_scales):
        raise InputError(
            f"weights: {len(weights)} for {len(length_scales)} length scale(s); give one for each"
        )
    parts = [tk.Constant(jnp.asarray(w)) * rbf(s) for w, s in zip(weights, length_scales, strict=True)]
    return functools.reduce(tk.Sum, parts)


def inverse_multiquadric(length_scale: float | Float[Array, ""]) -> tk.RationalQuadratic:
    """(1 + ||x - y||^2 / length_scale^2)^(-1/2): heavy tails, so that far rows still pull.

    Source: Gorham & Mackey, "Measuring Sample Quality with Kernels", ICML 2017, section 3.3.
    """
    return tk.RationalQuadratic(scale=rbf(length_scale).scale, distance=L2Distance(), alpha=jnp.asarray(0.5))


def laplace(length_scale: float | Float[Array, ""]) -> tk.Exp:
    """exp(-||x - y|| / length_scale), with the Euclidean norm."""
    return tk.Exp(scale=rbf(length_scale).scale, distance=L2Distance())


def linear() -> tk.DotProduct:
    """x . y: its MMD is the distance between weighted means."""
    return tk.DotProduct()


def median_length_scale(x: Float[Array | np.ndarray, "rows width"], *, max_rows: int = 2_000) -> float:
    """The median distance between distinct rows: the usual length scale for a kernel two-sample statistic.

    At most `max_rows` evenly spaced rows are compared. Pairs at distance zero (duplicates) do not count.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 8.

    Raises:
        InputError: fewer than two rows, a bad value, or all rows identical.
    """
    check_rows("x", x, min_rows=2)
    rows = evenly_spaced(x.shape[0], max_rows)
    sample = np.asarray(x[rows], dtype=np.float64)
    sample = sample - sample.mean(axis=0)
    norms = np.sum(sample**2, axis=1)
    squared = norms[:, None] + norms[None, :] - 2.0 * sample @ sample.T
    pairs = squared[np.triu_indices(len(rows), 1)]
    pairs = pairs[pairs > 1e-9 * max(float(norms.max()), 1e-30)]
    if pairs.size == 0:
        raise InputError("x: all rows are identical, so there is no distance to take a length scale from")
    return float(np.sqrt(np.median(pairs)))


def pooled_rbf(
    x: Float[Array | np.ndarray, "n d"], y: Float[Array | np.ndarray, "m d"], *, max_rows: int = 512
) -> tk.ExpSquared:
    """The default kernel for two sets: RBF with the median distance over at most `max_rows` rows of each.

    Rows are evenly spaced and duplicates do not count, as in `median_length_scale`; this one is traceable,
    and constant under differentiation.
    """
    return tk.ExpSquared(scale=_median_radius(*(_spaced(a, max_rows) for a in (x, y))))


def _spaced(a: Any, most: int) -> Any:
    """At most so many evenly spaced rows."""
    if a.shape[0] <= most:
        return a
    rows = evenly_spaced(a.shape[0], most)
    # Outside of JAX's own code NumPy takes them: JAX would compile half a dozen programs for each shape.
    elsewhere = isinstance(a, jax.core.Tracer) or (isinstance(a, jax.Array) and not a.is_fully_addressable)
    return a[rows] if elsewhere else np.asarray(a)[rows]


@jax.jit
def _median_radius(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, ""]:
    """The median distance above 0 among the rows of both; 1 where all are equal: any scale will do."""
    pooled = jax.lax.stop_gradient(jnp.concatenate([x, y]))
    pooled = pooled - jnp.mean(pooled, axis=0)
    distances = _radii(pooled, pooled)
    pairs = jnp.triu(distances, 1)  # what is 0 does not count
    median = jnp.nanmedian(jnp.where(pairs > 0, pairs, jnp.nan))
    return jnp.where(jnp.isnan(median), 1.0, median)


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


def half_squares(x: Float[Array, "*batch n d"]) -> Float[Array, "*batch n"]:
    """||x_i||^2 / 2."""
    return 0.5 * jnp.sum(x * x, axis=-1)


def unit_rbf(
    x: Float[Array, "n d"], y: Float[Array, "m d"], x_halves: Float[Array, " n"], y_halves: Float[Array, " m"]
) -> Float[Array, "n m"]:
    """exp(-||x_i - y_j||^2 / 2), given the `half_squares` of both; differentiable, at distance 0 too."""
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    exponent = product - x_halves[:, None] - y_halves[None, :]
    # Above 0 it is rounding; taken off as a constant, it costs the derivative no branch.
    return jnp.exp(exponent - jax.lax.stop_gradient(jnp.maximum(exponent, 0.0)))


def _radii(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """||x_i - y_j||; 0, with gradient 0, where it is lost in the rounding of `squared_distances`."""
    squared = squared_distances(x, y)
    norms = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None, :]
    apart = squared > 4.0 * jnp.finfo(x.dtype).eps * norms
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)


def has_product_form(kernel: Kernel) -> bool:
    """Whether `gram` needs only matrix products and O(n m) memory for `kernel`."""
    if isinstance(kernel, tk.Sum | tk.Product):
        return has_product_form(kernel.kernel1) and has_product_form(kernel.kernel2)
    euclidean = isinstance(kernel, tk.Stationary) and type(kernel.distance) is L2Distance
    return euclidean or isinstance(kernel, tk.Constant | tk.DotProduct)


def gram(kernel: Kernel, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """k(x_i, y_j): by a matrix product where `has_product_form`, else by tinygp's vmap.

    A stationary Euclidean kernel is a function of the radius alone, so it is evaluated at the points r and 0
    of the line. Sums share one product: XLA merges the equal `squared_distances`.
    """
    scale = rbf_length_scale(kernel)
    if scale is not None:
        # Points in units of the length scale leave one multiplication less for every pair.
        x, y = (points * (1.0 / scale).astype(points.dtype) for points in (x, y))
        return unit_rbf(x, y, half_squares(x), half_squares(y))
    if isinstance(kernel, tk.Sum):
        return gram(kernel.kernel1, x, y) + gram(kernel.kernel2, x, y)
    if isinstance(kernel, tk.Product):
        return gram(kernel.kernel1, x, y) * gram(kernel.kernel2, x, y)
    if isinstance(kernel, tk.Constant):
        return jnp.full((x.shape[0], y.shape[0]), kernel.value, x.dtype)
    if isinstance(kernel, tk.DotProduct):
        return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    if has_product_form(kernel):
        of_radius = jax.vmap(jax.vmap(lambda r: kernel.evaluate(r, jnp.zeros_like(r))))
        return of_radius(_radii(x, y)).astype(x.dtype)
    return kernel(x, y).astype(x.dtype)


def diagonal(kernel: Kernel, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """k(x_i, x_i)."""
    if rbf_length_scale(kernel) is not None:
        return jnp.ones(x.shape[0], x.dtype)
    return kernel(x).astype(x.dtype)
