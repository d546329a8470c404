"""Weighted sums of kernel values over all pairs of rows, in blocks, with their derivatives.

A sum is that of a tinygp kernel, or with None of the unit RBF kernel exp(-||x - y||^2 / 2), whose derivatives
are two matrix products with the values themselves. Any RBF sum is that one, of points in units of its length
scale.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synalign_jax.core.kernels import Kernel, gram, half_squares, unit_rbf

_HIGHEST = jax.lax.Precision.HIGHEST


class Cloud(NamedTuple):
    """Points with weights; labels, if any, are small integers and split the kernel (0 across labels)."""

    points: Float[Array, "n d"]
    weights: Float[Array, " n"]
    labels: Int[Array, " n"] | None = None


class _Block(NamedTuple):
    """Rows of a cloud; with a leading axis, all of its blocks."""

    points: Float[Array, "*blocks n d"]
    weights: Float[Array, "*blocks n"]
    labels: Int[Array, "*blocks n"] | None
    halves: Float[Array, "*blocks n"]  # half_squares, which every pair of blocks needs


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def self_form(block_size: int, kernel: Kernel | None, x: Cloud) -> Any:
    """sum_ij u_i u_j k(x_i, x_j), each pair of blocks computed once."""
    return _sweep(block_size, kernel, x, None, frozenset())[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def cross_form(block_size: int, kernel: Kernel | None, x: Cloud, y: Cloud) -> Any:
    """sum_ij u_i v_j k(x_i, y_j)."""
    return _sweep(block_size, kernel, x, y, frozenset())[0]


def _sweep(
    block_size: int, kernel: Kernel | None, x: Cloud, y: Cloud | None, wanted: frozenset[str]
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

    def step(carry: Any, pair: Any) -> tuple[Any, None]:
        total, lost, sums = carry
        i, j, factor = pair
        ends = (jax.tree.map(lambda part: part[i], rows), jax.tree.map(lambda part: part[j], columns))
        value, slopes = _unit_rbf(*ends, wanted) if kernel is None else _any_kernel(kernel, *ends, wanted)
        # Kahan's compensated sum: thousands of blocks must not cost float32 its last digits.
        corrected = factor * value - lost
        bigger = total + corrected
        lost = (bigger - total) - corrected
        sums = dict(sums)
        for name, slope in slopes.items():
            if name == "kernel":
                sums[name] = jax.tree.map(lambda held, one: held + factor * one, sums[name], slope)
            else:
                place = i if name[0] == "x" else j
                # Not .at[].add, a scatter, for which XLA on CPU copies the whole sum at every block.
                sums[name] = jax.lax.dynamic_update_index_in_dim(
                    sums[name], sums[name][place] + factor * slope, place, 0
                )
        return (bigger, lost, sums), None

    zero = jnp.zeros((), x.points.dtype)
    whole = {
        "kernel": kernel,
        "x_points": rows.points,
        "x_weights": rows.weights,
        "y_points": columns.points,
        "y_weights": columns.weights,
    }
    sums = {name: jax.tree.map(jnp.zeros_like, whole[name]) for name in wanted}
    steps = (
        *(jnp.asarray(k, jnp.int32) for k in zip(*pairs, strict=True)),
        jnp.asarray(factors, x.points.dtype),
    )
    (total, _, sums), _ = jax.lax.scan(step, (zero, zero, sums), steps)
    counts = {"x": x.points.shape[0], "y": (x if y is None else y).points.shape[0]}
    for name in wanted - {"kernel"}:
        sums[name] = sums[name].reshape(-1, *sums[name].shape[2:])[: counts[name[0]]]
    if y is None:  # one cloud is both ends
        for name in [name for name in sums if name[0] == "y"]:
            sums[name.replace("y_", "x_")] += sums.pop(name)
    return total, sums


def _unit_rbf(x: _Block, y: _Block, wanted: frozenset[str]) -> tuple[Float[Array, ""], dict[str, Any]]:
    """One pair of blocks. dk/dx_i = k (y_j - x_i), so the slopes are products of k with weighted points."""
    values = _within_labels(unit_rbf(x.points, y.points, x.halves, y.halves), x, y)
    to_x = _product(values, y.weights)
    value = jnp.sum(x.weights * to_x)
    if not wanted:
        return value, {}
    to_y = _product(x.weights, values)
    pull_x = _product(values, y.weights[:, None] * y.points)
    # Not values' @ ..., which XLA on CPU transposes first.
    pull_y = _product((x.weights[:, None] * x.points).T, values).T
    slopes = {
        "x_weights": to_x,
        "y_weights": to_y,
        "x_points": x.weights[:, None] * (pull_x - to_x[:, None] * x.points),
        "y_points": y.weights[:, None] * (pull_y - to_y[:, None] * y.points),
    }
    return value, {name: slopes[name] for name in wanted}


def _any_kernel(
    kernel: Kernel, x: _Block, y: _Block, wanted: frozenset[str]
) -> tuple[Float[Array, ""], dict[str, Any]]:
    """One pair of blocks, by JAX's derivative."""
    fixed = {
        "kernel": kernel,
        "x_points": x.points,
        "x_weights": x.weights,
        "y_points": y.points,
        "y_weights": y.weights,
    }
    free = {name: fixed.pop(name) for name in wanted}

    def form(free: dict[str, Any]) -> Float[Array, ""]:
        part = free | fixed
        values = _within_labels(gram(part["kernel"], part["x_points"], part["y_points"]), x, y)
        return jnp.sum(part["x_weights"] * _product(values, part["y_weights"]))

    return jax.value_and_grad(form)(free) if free else (form(free), {})


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=_HIGHEST)


def _within_labels(values: Float[Array, "n m"], x: _Block, y: _Block) -> Float[Array, "n m"]:
    if x.labels is None or y.labels is None:
        return values
    return jnp.where(x.labels[:, None] == y.labels[None, :], values, 0.0)


def _blocks(cloud: Cloud, block_size: int) -> _Block:
    """The last block is filled with copies of the last row at weight 0."""
    missing = -cloud.points.shape[0] % block_size

    def cut(part: Array, mode: str) -> Array:
        padding = ((0, missing),) + ((0, 0),) * (part.ndim - 1)
        return jnp.pad(part, padding, mode=mode).reshape(-1, block_size, *part.shape[1:])

    points = cut(cloud.points, "edge")
    labels = None if cloud.labels is None else cut(cloud.labels, "edge")
    return _Block(points, cut(cloud.weights, "constant"), labels, half_squares(points))


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


self_form.defvjp(_self_forward, _backward, symbolic_zeros=True)
cross_form.defvjp(_cross_forward, _backward, symbolic_zeros=True)
