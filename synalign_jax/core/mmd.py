"""Weighted squared maximum mean discrepancy: exact and differentiable in blocks, or by projections."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .checks import InputError, check_rows, check_weights
from .features import FeatureMap, features
from .kernels import Kernel, diagonal, gram, has_product_form, pooled_rbf

_CPU_BLOCK = 1_024
_ACCELERATOR_BLOCK = 8_192
# Block cells x width for other kernels, whose derivative may hold every coordinate difference.
_VMAP_VALUES = 2**26


class Cloud(NamedTuple):
    """Points with weights; labels, if any, are small integers and split the kernel (0 across labels)."""

    points: Float[Array, "n d"]
    weights: Float[Array, " n"]
    labels: Int[Array, " n"] | None = None


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
    within_x, within_y = (jnp.asarray(_self_form(block_size, kernel, cloud)) for cloud in (x, y))
    if statistic == "u":
        within_x = _without_diagonal(within_x, x.weights, diagonal(kernel, x.points))
        within_y = _without_diagonal(within_y, y.weights, diagonal(kernel, y.points))
    return within_x + within_y - 2.0 * jnp.asarray(_cross_form(block_size, kernel, x, y))


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


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _self_form(block_size: int, kernel: Kernel, x: Cloud) -> Any:
    """sum_ij u_i u_j k(x_i, x_j), each pair of blocks computed once."""
    return _sweep(block_size, kernel, x, None, frozenset())[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cross_form(block_size: int, kernel: Kernel, x: Cloud, y: Cloud) -> Any:
    """sum_ij u_i v_j k(x_i, y_j)."""
    return _sweep(block_size, kernel, x, y, frozenset())[0]


def _sweep(
    block_size: int, kernel: Kernel, x: Cloud, y: Cloud | None, wanted: frozenset[str]
) -> tuple[Float[Array, ""], dict[str, Any]]:
    """The form and its derivatives with respect to `wanted`, block by block.

    `wanted` is a subset of kernel, x_points, x_weights, y_points, y_weights. With `y` None the form is that
    of `x` with itself: blocks above the diagonal count twice and their derivatives reach both of their ends.
    """
    rows = _blocks(x, block_size)
    columns = rows if y is None else _blocks(y, block_size)
    row_count, column_count = rows.points.shape[0], columns.points.shape[0]
    pairs = [(i, j) for i in range(row_count) for j in range(i if y is None else 0, column_count)]
    factors = [1.0 if y is not None or i == j else 2.0 for i, j in pairs]

    def block_form(free: dict[str, Any], fixed: dict[str, Any], labels: tuple[Any, Any]) -> Float[Array, ""]:
        part = free | fixed
        values = gram(part["kernel"], part["x_points"], part["y_points"])
        if labels[0] is not None:
            values = jnp.where(labels[0][:, None] == labels[1][None, :], values, 0.0)
        products = jnp.matmul(values, part["y_weights"], precision=jax.lax.Precision.HIGHEST)
        return jnp.sum(part["x_weights"] * products)

    def step(carry: Any, pair: Any) -> tuple[Any, None]:
        total, lost, sums = carry
        i, j, factor = pair
        part = {
            "kernel": kernel,
            "x_points": rows.points[i],
            "x_weights": rows.weights[i],
            "y_points": columns.points[j],
            "y_weights": columns.weights[j],
        }
        free = {name: part.pop(name) for name in wanted}
        labels = (_at(rows.labels, i), _at(columns.labels, j))
        if free:
            value, slopes = jax.value_and_grad(block_form)(free, part, labels)
        else:
            value, slopes = block_form(free, part, labels), {}
        # Kahan's compensated sum: thousands of blocks must not cost float32 its last digits.
        corrected = factor * value - lost
        bigger = total + corrected
        lost = (bigger - total) - corrected
        scaled = jax.tree.map(lambda slope: factor * slope, slopes)
        sums = dict(sums)
        for name, slope in scaled.items():
            if name == "kernel":
                sums[name] = jax.tree.map(jnp.add, sums[name], slope)
            else:
                target = name.replace("y_", "x_") if y is None else name
                place = i if name[0] == "x" else j
                # Not .at[].add, a scatter, for which XLA on CPU copies the whole sum at every block.
                sums[target] = jax.lax.dynamic_update_index_in_dim(
                    sums[target], sums[target][place] + slope, place, 0
                )
        return (bigger, lost, sums), None

    zero = jnp.zeros((), x.points.dtype)
    whole = {"kernel": kernel, "x_points": rows.points, "x_weights": rows.weights}
    whole |= {} if y is None else {"y_points": columns.points, "y_weights": columns.weights}
    sums = {name: jax.tree.map(jnp.zeros_like, whole[name]) for name in wanted if name in whole}
    steps = (
        *(jnp.asarray(k, jnp.int32) for k in zip(*pairs, strict=True)),
        jnp.asarray(factors, x.points.dtype),
    )
    (total, _, sums), _ = jax.lax.scan(step, (zero, zero, sums), steps)
    counts = {"x": x.points.shape[0], "y": 0 if y is None else y.points.shape[0]}
    flat = {
        name: total_slope
        if name == "kernel"
        else total_slope.reshape(-1, *total_slope.shape[2:])[: counts[name[0]]]
        for name, total_slope in sums.items()
    }
    return total, flat


def _blocks(cloud: Cloud, block_size: int) -> Cloud:
    """(blocks, block_size, ...): the last block is filled with copies of the last row at weight 0."""
    missing = -cloud.points.shape[0] % block_size
    points = jnp.pad(cloud.points, ((0, missing), (0, 0)), mode="edge")
    weights = jnp.pad(cloud.weights, (0, missing))
    labels = (
        None
        if cloud.labels is None
        else jnp.pad(cloud.labels, (0, missing), mode="edge").reshape(-1, block_size)
    )
    return Cloud(points.reshape(-1, block_size, points.shape[1]), weights.reshape(-1, block_size), labels)


def _at(labels: Int[Array, "blocks n"] | None, block: Any) -> Any:
    return None if labels is None else labels[block]


def _wanted(prefix: str, cloud: Any) -> set[str]:
    """Names of the parts of a cloud (of `CustomVJPPrimal`s) that are being differentiated."""
    return {f"{prefix}_{part}" for part in ("points", "weights") if getattr(cloud, part).perturbed}


def _values(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.value, tree, is_leaf=lambda leaf: hasattr(leaf, "perturbed"))


def _kernel_wanted(kernel: Any) -> set[str]:
    leaves = jax.tree.leaves(kernel, is_leaf=lambda leaf: hasattr(leaf, "perturbed"))
    return {"kernel"} if any(leaf.perturbed for leaf in leaves) else set()


# The value is a scalar, so its derivative is computed with it, in the same sweep, and later only scaled: one
# pass over the blocks serves both, and what is kept between them has the size of the inputs.


def _self_forward(block_size: int, kernel: Any, x: Any) -> Any:
    wanted = frozenset(
        _kernel_wanted(kernel) | _wanted("x", x) | {n.replace("x_", "y_") for n in _wanted("x", x)}
    )
    total, slopes = _sweep(block_size, _values(kernel), _values(x), None, wanted)
    return total, (slopes, _values(kernel), _values(x))


def _cross_forward(block_size: int, kernel: Any, x: Any, y: Any) -> Any:
    wanted = frozenset(_kernel_wanted(kernel) | _wanted("x", x) | _wanted("y", y))
    total, slopes = _sweep(block_size, _values(kernel), _values(x), _values(y), wanted)
    return total, (slopes, _values(kernel), _values(x), _values(y))


def _cotangent(slopes: dict[str, Any], name: str, like: Any, scale: Float[Array, ""]) -> Any:
    if name in slopes:
        return jax.tree.map(lambda slope: scale * slope, slopes[name])
    return jax.tree.map(jnp.zeros_like, like)


def _backward(_block_size: int, residuals: Any, scale: Any) -> Any:
    slopes, kernel, *clouds = residuals
    names = ("x", "y")[: len(clouds)]
    out = [_cotangent(slopes, "kernel", kernel, scale)]
    for name, cloud in zip(names, clouds, strict=True):
        points = _cotangent(slopes, f"{name}_points", cloud.points, scale)
        out.append(Cloud(points, _cotangent(slopes, f"{name}_weights", cloud.weights, scale), None))
    return tuple(out)


_self_form.defvjp(_self_forward, _backward, symbolic_zeros=True)
_cross_form.defvjp(_cross_forward, _backward, symbolic_zeros=True)
