"""Weights where the pool's kernel matrix does not fit: the dual problem in the span of some of its rows."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synalign_jax.core.align.simplex import threshold

_HIGHEST = jax.lax.Precision.HIGHEST
_HESSIAN_ROWS = 8_192


class DualProblem(NamedTuple):
    """MMD^2 + rho |w|^2 + 2 linear' w over the capped simplex, and the landmarks of its dual.

    Attributes:
        cross: <phi~(e_j), phi~(landmark l)>; it may be sharded by rows.
        within: the same between landmarks.
        rho: strength of the penalty.
        cap: the largest weight.
        linear: half the linear term, one entry a row.
        factor: Cholesky factor of `within`.
        some: the rows that the Hessian is estimated from, evenly spaced.
        white: these rows of `cross` in coordinates in which `within` is the identity. So is the Hessian
            there, but for a sum over the rows with a free weight; what float32 loses of that sum does not
            hide the directions in which landmarks hardly differ.
    """

    cross: Float[Array, "m s"]
    within: Float[Array, "s s"]
    rho: Float[Array, ""]
    cap: Float[Array, ""]
    linear: Float[Array, " m"]
    factor: Float[Array, "s s"]
    some: Int[Array, " r"]
    white: Float[Array, "r s"]


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


def whitened(
    cross: Float[Array, "m s"], factor: Float[Array, "s s"]
) -> tuple[Int[Array, " r"], Float[Array, "r s"]]:
    """`some` and `white` of a DualProblem."""
    m = cross.shape[0]
    count = min(_HESSIAN_ROWS, m)
    some = jnp.asarray(np.arange(count) * m // count)
    return some, _whiten(factor, cross, some)


@jax.jit
def _whiten(
    factor: Float[Array, "s s"], cross: Float[Array, "m s"], some: Int[Array, " r"]
) -> Float[Array, "r s"]:
    return jax.scipy.linalg.solve_triangular(factor, cross[some].T, lower=True).T


@jax.jit
def evaluate_dual(problem: DualProblem, v: Float[Array, " s"]) -> Dual:
    """-|h|^2 + min over w of rho |w|^2 - 2 sum_j w_j (h(e_j) - linear_j): below the problem's optimum.

    It holds because |mu_w|^2 >= -2 <h, mu_w> - |h|^2 for every h, mu_w being the centred mean of the weighted
    rows. Only sums over the pool's rows leave them.
    """
    _, within, rho, cap, *_ = problem
    h = -jnp.matmul(problem.cross, v, precision=_HIGHEST) - problem.linear
    nu = threshold(h / rho, jnp.ones((), h.dtype), cap)
    omega = jnp.clip(h / rho - nu, 0.0, cap)
    bend = jnp.matmul(within, v, precision=_HIGHEST)
    bound = rho * (omega @ omega) - 2.0 * (h @ omega) - v @ bend
    slope = 2.0 * (jnp.matmul(omega, problem.cross, precision=_HIGHEST) - bend)
    return Dual(v, omega, bound, slope)


def newton_direction(
    problem: DualProblem,
    omega: Float[Array, " m"],
    slope: Float[Array, " s"],
    size: int | None = None,
) -> Float[Array, " s"]:
    """Newton's step on the bound from weights `omega` and its `slope`, within the first `size` landmarks."""
    size = problem.within.shape[0] if size is None else size
    # Only free rows have a part in the Hessian; powers of two keep the compiled shapes few.
    rows = 1 << max(int(_count_free(problem, omega)) - 1, 0).bit_length()
    return _newton(problem, omega, slope, size, min(rows, problem.some.shape[0]))


@jax.jit
def _free(problem: DualProblem, omega: Float[Array, " m"]) -> Array:
    some = omega[problem.some]
    return (some > 0) & (some < problem.cap)


@jax.jit
def _count_free(problem: DualProblem, omega: Float[Array, " m"]) -> Array:
    return jnp.sum(_free(problem, omega))


@partial(jax.jit, static_argnames=("size", "rows"))
def _newton(
    problem: DualProblem, omega: Float[Array, " m"], slope: Float[Array, " s"], size: int, rows: int
) -> Float[Array, " s"]:
    free = _free(problem, omega)
    index = jnp.nonzero(free, size=rows, fill_value=0)[0]
    count = jnp.sum(free)
    inside = problem.white[index, :size] * (jnp.arange(rows) < count)[:, None]
    total = jnp.sum(inside, axis=0)
    spread = jnp.matmul(inside.T, inside, precision=_HIGHEST)
    spread = spread - jnp.outer(total, total) / jnp.maximum(count, 1)
    share = problem.some.shape[0] / omega.shape[0]
    hessian = jnp.eye(size, dtype=slope.dtype) + spread / (problem.rho * share)
    # The leading corner of a Cholesky factor is the factor of the leading corner.
    corner = problem.factor[:size, :size]
    step = jax.scipy.linalg.solve_triangular(corner, slope[:size], lower=True)
    step = 0.5 * jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(hessian), True), step)
    step = jax.scipy.linalg.solve_triangular(corner, step, lower=True, trans="T")
    return jnp.pad(step, (0, slope.shape[0] - size))


def maximise(
    problem: DualProblem,
    start: Float[Array, " s"] | None = None,
    *,
    floor: float = 0.0,
    relative: float = 0.0,
    absolute: float = 0.0,
    max_steps: int,
) -> tuple[Dual, bool]:
    """The best witness in the span of the landmarks, and whether it was reached.

    Newton's method with a subsampled Hessian and a halving line search on the concave bound; without a
    `start` it goes through the spans of a sixteenth and a quarter of the landmarks first. It ends when the
    Newton decrement, twice what the bound can still gain, is below `absolute` plus `relative` times
    bound - floor.
    """
    s = problem.within.shape[0]
    if start is None:
        dual = evaluate_dual(problem, jnp.zeros(s, problem.within.dtype))
        for size in (s // 16, s // 4):
            if size > 0:
                dual, _ = _climb(problem, dual, size, floor, 0.1, 0.0, max_steps)
    else:
        dual = evaluate_dual(problem, start)
    return _climb(problem, dual, s, floor, relative, absolute, max_steps)


def _climb(
    problem: DualProblem,
    dual: Dual,
    size: int,
    floor: float,
    relative: float,
    absolute: float,
    max_steps: int,
) -> tuple[Dual, bool]:
    for _ in range(max_steps):
        direction = newton_direction(problem, dual.omega, dual.slope, size)
        enough = absolute + relative * max(float(dual.bound) - floor, 0.0)
        if float(direction @ dual.slope) <= enough:
            return dual, True
        for halvings in range(12):
            trial = evaluate_dual(problem, dual.v + 0.5**halvings * direction)
            if float(trial.bound) > float(dual.bound):
                break
        else:
            return dual, True  # no ascent is left above rounding
        dual = trial
    return dual, False
