"""Weights where the pool's kernel matrix does not fit: the dual problem in the span of some of its rows."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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


@partial(jax.jit, static_argnames=("rows",))
def newton_factor(
    cross: Float[Array, "m s"],
    within: Float[Array, "s s"],
    rho: Float[Array, ""],
    cap: Float[Array, ""],
    omega: Float[Array, " m"],
    rows: int,
) -> Float[Array, "s s"]:
    """Cholesky factor of minus half the Hessian of the bound, estimated from `rows` evenly spaced rows."""
    m = cross.shape[0]
    index = (jnp.arange(rows) * (m / rows)).astype(jnp.int32)
    some, weights = cross[index], omega[index]
    free = ((weights > 0) & (weights < cap)).astype(cross.dtype)
    inside = some * free[:, None]
    total = jnp.sum(inside, axis=0)
    spread = jnp.matmul(inside.T, inside, precision=_HIGHEST)
    spread = spread - jnp.outer(total, total) / jnp.maximum(jnp.sum(free), 1.0)
    hessian = within + spread * (m / rows / rho)
    return jnp.linalg.cholesky(hessian + _ridge(hessian))


def cholesky(within: Float[Array, "s s"]) -> Float[Array, "s s"]:
    """Lower factor, with a ridge at rounding level that keeps duplicate landmarks apart."""
    return jnp.linalg.cholesky(within + _ridge(within))


def _ridge(matrix: Float[Array, "s s"]) -> Float[Array, "s s"]:
    # Rounding of the entries perturbs eigenvalues by about eps sqrt(s) times the largest entry.
    size = matrix.shape[0]
    scale = 8.0 * jnp.finfo(matrix.dtype).eps * size**0.5 * jnp.max(jnp.diagonal(matrix))
    return scale * jnp.eye(size, dtype=matrix.dtype)


def maximise(
    cross: Float[Array, "m s"],
    within: Float[Array, "s s"],
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
    rows = min(cross.shape[0], 2 * cross.shape[1])
    factor = None
    for _ in range(max_steps):
        if factor is None:
            factor = newton_factor(cross, within, rho, cap, dual.omega, rows)
        direction = 0.5 * jax.scipy.linalg.cho_solve((factor, True), dual.slope)
        if float(direction @ dual.slope) <= relative * max(float(dual.bound) - floor, 0.0):
            return dual, True
        for halvings in range(12):
            trial = evaluate_dual(cross, within, rho, cap, dual.v + 0.5**halvings * direction)
            if float(trial.bound) > float(dual.bound):
                break
        else:
            return dual, True  # no ascent is left above rounding
        dual = trial
        factor = None
    return dual, False
