"""Weights where the pool's kernel matrix does not fit: the dual problem in the span of some of its rows."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .simplex import threshold

_HIGHEST = jax.lax.Precision.HIGHEST


class Dual(NamedTuple):
    """A point of the dual problem.

    The witness is h = -sum_l v_l phi~(landmark l), with phi~ centred at the mean of the real rows. `omega`
    are the weights that minimise the Lagrangian there, `bound` its minimum, and `slope` the derivative of the
    bound with respect to v.
    """

    v: Float[Array, " s"]
    omega: Float[Array, " m"]
    bound: Float[Array, ""]
    slope: Float[Array, " s"]


@jax.jit
def evaluate_dual(
    cross: Float[Array, "m s"],
    within: Float[Array, "s s"],
    rho: Float[Array, ""],
    cap: Float[Array, ""],
    v: Float[Array, " s"],
) -> Dual:
    """-|h|^2 + min over w of rho |w|^2 - 2 sum_j w_j h(e_j): a lower bound of MMD^2 + rho |w|^2.

    It holds because |mu_w|^2 >= -2 <h, mu_w> - |h|^2 for every h, mu_w being the centred mean of the weighted
    rows. Only sums over the pool's rows leave them, so `cross` may be sharded by rows.

    Args:
        cross: <phi~(e_j), phi~(landmark l)>.
        within: the same between landmarks.
        rho: strength of the penalty.
        cap: the largest weight.
        v: coefficients.
    """
    h = -jnp.matmul(cross, v, precision=_HIGHEST)
    nu = threshold(h / rho, jnp.ones((), h.dtype), cap)
    omega = jnp.clip(h / rho - nu, 0.0, cap)
    bend = jnp.matmul(within, v, precision=_HIGHEST)
    bound = rho * (omega @ omega) - 2.0 * (h @ omega) - v @ bend
    slope = 2.0 * (jnp.matmul(omega, cross, precision=_HIGHEST) - bend)
    return Dual(v, omega, bound, slope)


class Whitener(NamedTuple):
    """Some of the pool's rows in coordinates in which `within` is the identity, for Newton's method.

    There the Hessian of the bound is the identity and a sum over the rows with a free weight, so that what
    float32 loses of it does not hide the directions in which landmarks hardly differ.
    """

    factor: Float[Array, "s s"]
    index: np.ndarray
    rows: Float[Array, "r s"]


def whitener(cross: Float[Array, "m s"], factor: Float[Array, "s s"], rows: int = 8_192) -> Whitener:
    """From the Cholesky factor of `within` and at most `rows` evenly spaced rows of `cross`."""
    count = min(rows, cross.shape[0])
    index = (np.arange(count) * cross.shape[0] // count).astype(np.int32)
    return Whitener(factor, index, _whiten(factor, cross[index]))


@jax.jit
def _whiten(factor: Float[Array, "s s"], rows: Float[Array, "r s"]) -> Float[Array, "r s"]:
    return jax.scipy.linalg.solve_triangular(factor, rows.T, lower=True).T


@jax.jit
def newton_factor(
    rows: Float[Array, "r s"], strength: Float[Array, ""], free: Bool[Array, " r"]
) -> Float[Array, "s s"]:
    """Cholesky factor of minus half the Hessian in whitened coordinates.

    Args:
        rows: of the whitener.
        strength: rho times the share of the pool that they are.
        free: whether a row's weight is between 0 and the cap.
    """
    inside = rows * free[:, None]
    total = jnp.sum(inside, axis=0)
    spread = jnp.matmul(inside.T, inside, precision=_HIGHEST)
    spread = spread - jnp.outer(total, total) / jnp.maximum(jnp.sum(free), 1)
    return jnp.linalg.cholesky(jnp.eye(rows.shape[1], dtype=rows.dtype) + spread / strength)


@jax.jit
def newton_direction(
    factor: Float[Array, "s s"], hessian: Float[Array, "s s"], slope: Float[Array, " s"]
) -> Float[Array, " s"]:
    """Newton's step from the factor of `within` and the factor of the Hessian in its coordinates."""
    white = jax.scipy.linalg.solve_triangular(factor, slope, lower=True)
    step = 0.5 * jax.scipy.linalg.cho_solve((hessian, True), white)
    return jax.scipy.linalg.solve_triangular(factor, step, lower=True, trans="T")


@jax.jit
def ridged(within: Float[Array, "s s"]) -> Float[Array, "s s"]:
    """`within` with a ridge at rounding level, which keeps duplicate landmarks apart.

    The bound holds with it as without, as it makes the witness no smaller.
    """
    # Rounding of the entries perturbs eigenvalues by about eps sqrt(s) times the largest entry.
    size = within.shape[0]
    scale = 8.0 * jnp.finfo(within.dtype).eps * size**0.5 * jnp.max(jnp.diagonal(within))
    return within + scale * jnp.eye(size, dtype=within.dtype)


def maximise(
    cross: Float[Array, "m s"],
    within: Float[Array, "s s"],
    white: Whitener,
    rho: Float[Array, ""],
    cap: Float[Array, ""],
    floor: float,
    *,
    relative: float,
    max_steps: int,
) -> tuple[Dual, bool]:
    """The best witness in the span of the landmarks, and whether it was reached.

    Newton's method with a subsampled Hessian and a halving line search on the concave bound. It ends when the
    Newton decrement, twice what the bound can still gain, is below `relative` times bound - floor.
    """
    dual = evaluate_dual(cross, within, rho, cap, jnp.zeros(cross.shape[1], cross.dtype))
    for _ in range(max_steps):
        direction = newton_direction(white.factor, hessian_at(dual.omega, white, rho, cap), dual.slope)
        decrement = float(direction @ dual.slope)
        if decrement <= relative * max(float(dual.bound) - floor, 0.0):
            return dual, True
        for halvings in range(12):
            trial = evaluate_dual(cross, within, rho, cap, dual.v + 0.5**halvings * direction)
            if float(trial.bound) > float(dual.bound):
                break
        else:
            return dual, True  # no ascent is left above rounding
        dual = trial
    return dual, False


def hessian_at(
    omega: Float[Array, " m"], white: Whitener, rho: Float[Array, ""], cap: Float[Array, ""]
) -> Float[Array, "s s"]:
    """`newton_factor` at the weights `omega` of all rows."""
    some = omega[white.index]
    return newton_factor(white.rows, rho * (len(white.index) / omega.shape[0]), (some > 0) & (some < cap))
