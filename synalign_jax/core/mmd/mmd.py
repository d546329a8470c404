"""Weighted squared maximum mean discrepancy: exact and differentiable in blocks, or by projections."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synalign_jax.core.checks import InputError, as_floats, check_rows, check_weights
from synalign_jax.core.kernels import Kernel, diagonal, has_product_form, pooled_rbf, rbf_length_scale

from .features import FeatureMap, features
from .forms import Cloud, cross_form, self_form

_CPU_BLOCK = 1_024
_ACCELERATOR_BLOCK = 8_192
# Block cells x width for other kernels, whose derivative may hold every coordinate difference.
_VMAP_VALUES = 2**26


def mmd2(
    x: Any,
    y: Any,
    *,
    x_weights: Any = None,
    y_weights: Any = None,
    x_labels: Any = None,
    y_labels: Any = None,
    kernel: Kernel | None = None,
    statistic: str = "v",
    theta: FeatureMap | None = None,
    block_size: int | None = None,
) -> Float[Array, ""]:
    """MMD^2 between the weighted rows of `x` and of `y`: ||sum_i u_i phi(x_i) - sum_j v_j phi(y_j)||^2.

    Differentiable once, in reverse mode, with respect to points, weights and the kernel's parameters. Value
    and derivatives are computed in blocks of kernel values, which are never held together; the sums over
    (x, x) and (y, y) visit each pair of blocks once. Works under `jit`, `vmap` and `grad`. Optimise MMD^2,
    not its root, whose gradient is infinite at zero.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, equations 3 (U) and 5 (V); SynAlign,
    section 3.3, for the weights and for `theta`.

    Args:
        x: (n, d) floating array.
        y: (m, d) floating array.
        x_weights: (n,) relative weights, not negative; they are divided by their sum. None: equal.
        y_weights: (m,), likewise.
        x_labels: (n,) integers or strings. With labels the kernel is k(x, y) where labels agree and 0
            elsewhere: the product kernel over (embedding, label).
        y_labels: (m,), likewise; given with `x_labels` or not at all.
        kernel: any tinygp kernel. None: RBF with the median distance of the pooled rows.
        statistic: "v" includes each row against itself, is never negative (up to rounding) and expects
            (1 - E k) (1 / n + 1 / m) for equal laws; "u" leaves those pairs out and expects 0.
        theta: a feature map of `random_features`; the projected form, unbiased over its key for "v" and "u".
        block_size: rows of a block; None picks one from the width and the kernel.

    Raises:
        InputError: bad rows, weights, labels or widths.
    """
    x, y = as_floats(x), as_floats(y)
    check_rows("x", x)
    check_rows("y", y, width=x.shape[1])
    if (x_labels is None) != (y_labels is None):
        raise InputError("labels: given for one side only; give x_labels and y_labels, or neither")
    if statistic not in ("v", "u"):
        raise InputError(f"statistic: {statistic!r}; choose 'v' or 'u'")
    if statistic == "u" and min(x.shape[0], y.shape[0]) < 2:
        raise InputError("statistic: 'u' needs at least two rows on each side")
    x_codes, y_codes = encode_labels(x_labels, y_labels, rows=(x.shape[0], y.shape[0]))
    dtype = jnp.result_type(x.dtype, y.dtype)
    first = Cloud(jnp.asarray(x, dtype), _normalised("x_weights", x_weights, x.shape[0], dtype), x_codes)
    second = Cloud(jnp.asarray(y, dtype), _normalised("y_weights", y_weights, y.shape[0], dtype), y_codes)
    if theta is not None:
        return _projected(first, second, theta, statistic, _label_count(x_codes, y_codes))
    kernel = pooled_rbf(first.points, second.points) if kernel is None else kernel
    size = block_size or pick_block_size(kernel, max(x.shape[0], y.shape[0]), x.shape[1])
    return _exact(kernel, first, second, size, statistic)


def pick_block_size(kernel: Kernel, rows: int, width: int) -> int:
    """Rows of a block: small enough for the cache of a CPU, large enough for at most 33,000 a sweep."""
    size = _CPU_BLOCK if jax.default_backend() == "cpu" else _ACCELERATOR_BLOCK
    size = max(size, 2 ** math.ceil(math.log2(max(rows, 1) / 256)))
    if not has_product_form(kernel):
        size = min(size, max(8, math.isqrt(_VMAP_VALUES // width)))
    count = -(-max(rows, 1) // size)
    return max(8, -(-rows // count))  # blocks of one size, so that little of the last is padding


def encode_labels(
    x_labels: Any, y_labels: Any, *, rows: tuple[int, int]
) -> tuple[Int[Array, " n"] | None, Int[Array, " m"] | None]:
    """Integer codes, equal where labels are equal; strings are coded by their sorted order.

    Raises:
        InputError: a wrong number of labels.
    """
    if x_labels is None:
        return None, None
    for name, labels, count in (("x_labels", x_labels, rows[0]), ("y_labels", y_labels, rows[1])):
        if len(labels) != count:
            raise InputError(f"{name}: {len(labels)} labels for {count} rows")
    if isinstance(x_labels, jax.core.Tracer) or isinstance(y_labels, jax.core.Tracer):
        return jnp.asarray(x_labels), jnp.asarray(y_labels)
    both = np.concatenate([np.asarray(x_labels), np.asarray(y_labels)])
    codes = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return jnp.asarray(codes[: rows[0]]), jnp.asarray(codes[rows[0] :])


def _label_count(x_codes: Int[Array, " n"] | None, y_codes: Int[Array, " m"] | None) -> int:
    if x_codes is None or y_codes is None:
        return 1
    if isinstance(x_codes, jax.core.Tracer) or isinstance(y_codes, jax.core.Tracer):
        raise InputError("labels: with theta they must be known while JAX traces; close over them")
    return int(max(x_codes.max(), y_codes.max())) + 1


def _normalised(name: str, weights: Any, rows: int, dtype: Any) -> Float[Array, " n"]:
    if weights is None:
        return jnp.full(rows, 1.0 / rows, dtype)
    check_weights(name, weights, rows)
    weights = jnp.asarray(weights, dtype)
    return weights / jnp.sum(weights)


@partial(jax.jit, static_argnames=("block_size", "statistic"))
def _exact(kernel: Kernel, x: Cloud, y: Cloud, block_size: int, statistic: str) -> Float[Array, ""]:
    # A kernel's parameters may be Python numbers; the derivative rule wants arrays.
    kernel = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.points.dtype), kernel)
    on_diagonal = [diagonal(kernel, cloud.points) for cloud in (x, y)]
    of_forms, scale = kernel, rbf_length_scale(kernel)
    if scale is not None:
        # About their middle, rows lose least to rounding.
        middle = jax.lax.stop_gradient(jnp.mean(x.points, axis=0))
        x, y = (cloud._replace(points=(cloud.points - middle) / scale) for cloud in (x, y))
        of_forms = None
    within = [jnp.asarray(self_form(block_size, of_forms, cloud)) for cloud in (x, y)]
    if statistic == "u":
        within = [
            _without_diagonal(total, cloud.weights, k_ii)
            for total, cloud, k_ii in zip(within, (x, y), on_diagonal, strict=True)
        ]
    return within[0] + within[1] - 2.0 * jnp.asarray(cross_form(block_size, of_forms, x, y))


@partial(jax.jit, static_argnames=("statistic", "label_count"))
def _projected(x: Cloud, y: Cloud, theta: FeatureMap, statistic: str, label_count: int) -> Float[Array, ""]:
    phi_x, phi_y = (_labelled(features(theta, c.points), c.labels, label_count) for c in (x, y))
    mean_x, mean_y = x.weights @ phi_x, y.weights @ phi_y
    if statistic == "v":
        return jnp.sum(jnp.square(mean_x - mean_y))
    within_x = _without_diagonal(mean_x @ mean_x, x.weights, jnp.sum(jnp.square(phi_x), axis=1))
    within_y = _without_diagonal(mean_y @ mean_y, y.weights, jnp.sum(jnp.square(phi_y), axis=1))
    return within_x + within_y - 2.0 * mean_x @ mean_y


def _labelled(phi: Float[Array, "n r"], labels: Int[Array, " n"] | None, count: int) -> Float[Array, "n r2"]:
    """phi in the columns of the row's label, 0 in the others: features of the product kernel."""
    if labels is None:
        return phi
    indicator = jax.nn.one_hot(labels, count, dtype=phi.dtype)
    return (indicator[:, :, None] * phi[:, None, :]).reshape(phi.shape[0], -1)


def _without_diagonal(
    total: Float[Array, ""], weights: Float[Array, " n"], k_ii: Float[Array, " n"]
) -> Float[Array, ""]:
    squares = jnp.square(weights)
    return (total - squares @ k_ii) / (1.0 - jnp.sum(squares))
