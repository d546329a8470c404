"""Certified minimisation of a' K a - 2 l' a + rho |a|^2 over the capped simplex, K a Gram matrix."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .simplex import level, project, threshold

_HIGHEST = jax.lax.Precision.HIGHEST
_CHUNK = 20  # gradient steps between two looks at the certificate
_TOGETHER = 30  # columns solved at once, if there is more than one
_SMALL = 1_024  # rows up to which a single column is solved by the program that solves many
_NEWTON_LIMIT = 8_192  # rows of the largest system that a Newton step factorises


class Certificate(NamedTuple):
    """What proves a solution: the optimum lies in [objective - gap, objective].

    `value` is a' K a - 2 l' a without the penalty; all are (columns,) arrays.
    """

    value: Float[Array | np.ndarray, " c"]
    objective: Float[Array | np.ndarray, " c"]
    gap: Float[Array | np.ndarray, " c"]


class Progress(NamedTuple):
    """The state of accelerated projected gradient: `point` is where the next gradient is taken."""

    best: Float[Array | np.ndarray, "m c"]
    point: Float[Array | np.ndarray, "m c"]
    momentum: Float[Array | np.ndarray, " c"]


@jax.jit
def largest_eigenvalue(K: Float[Array, "m m"]) -> Float[Array, ""]:
    """An upper estimate of the largest eigenvalue by power iteration, with a margin of 10 %."""
    vector = jnp.sin(
        jnp.arange(1.0, K.shape[0] + 1.0, dtype=K.dtype)
    )  # any vector that is not an eigenvector

    def multiply(_: Array, v: Array) -> Array:
        return (w := jnp.matmul(K, v, precision=_HIGHEST)) / jnp.maximum(jnp.linalg.norm(w), 1e-30)

    vector = jax.lax.fori_loop(0, 12, multiply, vector)
    return 1.1 * jnp.linalg.norm(jnp.matmul(K, vector, precision=_HIGHEST))


@jax.jit
def certify(
    K: Float[Array, "m m"],
    linear: Float[Array, "m c"],
    rho: Float[Array, " c"],
    cap: Float[Array, " m"],
    a: Float[Array | np.ndarray, "m c"],
) -> Certificate:
    """The Lagrangian dual with only the kernel part dualised: at least as tight as the Frank-Wolfe gap.

    For h = K a - l, the minimum over w of 2 h' w + rho |w|^2, less a' K a, bounds the optimum from below,
    because w' K w >= 2 w' K a - a' K a.
    """
    product = jnp.matmul(K, a, precision=_HIGHEST)
    quadratic = jnp.sum(a * product, axis=0)
    value = quadratic - 2.0 * jnp.sum(linear * a, axis=0)
    objective = value + rho * jnp.sum(a * a, axis=0)
    lower = jax.vmap(_inner_minimum, in_axes=(1, 0, None), out_axes=0)(product - linear, rho, cap) - quadratic
    return Certificate(value, objective, objective - lower)


def _inner_minimum(h: Float[Array, " m"], rho: Float[Array, ""], cap: Float[Array, " m"]) -> Float[Array, ""]:
    """min over the capped simplex of 2 h' w + rho |w|^2."""
    one = jnp.ones((), h.dtype)
    # Every multiplier nu of sum w = 1 gives a bound, so rounding in nu costs tightness, never truth. The best
    # nu is a threshold, or the smallest entry where neither penalty nor cap spreads the minimiser.
    lowest = jnp.min(jnp.where(cap > 0, h, jnp.inf))
    ridge = jnp.maximum(
        rho, 1e-3 * (jnp.max(jnp.where(cap > 0, h, -jnp.inf)) - lowest) + jnp.finfo(h.dtype).tiny
    )

    def bound(nu: Array) -> Array:
        slope = h - nu
        w = jnp.where(slope >= 0, 0.0, jnp.minimum(-slope / jnp.maximum(rho, 1e-30), cap))
        return 2.0 * nu + jnp.sum(2.0 * slope * w + rho * w * w)

    return jnp.maximum(bound(lowest), bound(-ridge * threshold(-h / ridge, one, cap)))


@jax.jit
def _descend(
    K: Float[Array, "m m"],
    linear: Float[Array, "m c"],
    rho: Float[Array, " c"],
    cap: Float[Array, " m"],
    curvature: Float[Array, ""],
    progress: Progress,
) -> Progress:
    """`_CHUNK` steps of FISTA with O'Donoghue and Candes' gradient restart, each column by itself."""
    one = jnp.ones((), K.dtype)
    nearest = jax.vmap(project, in_axes=(1, None, None), out_axes=1)

    def step(_: Array, state: Progress) -> Progress:
        slope = jnp.matmul(K, state.point, precision=_HIGHEST) - linear + rho * state.point
        new = nearest(state.point - slope / (curvature + rho), one, cap)
        uphill = jnp.sum((state.point - new) * (new - state.best), axis=0) > 0
        momentum = jnp.where(uphill, 1.0, state.momentum)
        following = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * momentum**2))
        point = new + jnp.where(uphill, 0.0, (momentum - 1.0) / following) * (new - state.best)
        return Progress(new, point, following)

    return jax.lax.fori_loop(0, _CHUNK, step, progress)


@jax.jit
def _newton(
    K: Float[Array, "m m"],
    linear: Float[Array, " m"],
    rho: Float[Array, ""],
    held: Float[Array | np.ndarray, " m"],
    index: Int[Array | np.ndarray, " s"],
) -> Float[Array, " s"]:
    """The minimiser's free entries, unbounded, with all others held; an index of m stands for none."""
    real = index < K.shape[0]
    block = jnp.where(real[:, None] & real, K[index[:, None], index], 0.0)
    # A ridge at rounding level keeps duplicates solvable.
    ridge = rho + 1e-6 * jnp.trace(block) / index.shape[0]
    block = block + jnp.diag(jnp.where(real, ridge, 1.0))
    factor = jax.scipy.linalg.cho_factor(block, lower=True)
    right = jnp.where(real, (linear - jnp.matmul(K, held, precision=_HIGHEST))[index], 0.0)
    solution = jax.scipy.linalg.cho_solve(factor, jnp.stack([right, real.astype(K.dtype)], axis=1))
    total = 1.0 - jnp.sum(held)
    nu = (total - jnp.sum(solution[:, 0])) / jnp.sum(solution[:, 1])
    return solution[:, 0] + nu * solution[:, 1]


class Solution(NamedTuple):
    """`converged` means gap <= relative * (objective - floor) + absolute; see `minimise`."""

    a: Float[np.ndarray, "m c"]
    certificate: Certificate
    converged: np.ndarray


def minimise(
    K: Float[Array, "s s"],
    linear: Float[np.ndarray, "m c"],
    rho: Float[np.ndarray, " c"],
    *,
    cap: float,
    floor: np.ndarray,
    relative: float,
    absolute: float,
    max_steps: int,
) -> Solution:
    """Solve all columns, several together: one matrix product a step serves them, and a column that is
    solved makes room for another.

    A single column is polished by Newton steps on its support, which end it where the support is small and
    the penalty too weak for gradient steps to be quick.

    Args:
        K: positive semi-definite; the rows beyond the m of `linear`, which fill it up to one of the few
            sizes that are compiled, are zero and get nothing.
        linear: l, one column a problem.
        rho: the penalty of each column.
        cap: the largest entry allowed, at least 1 / m.
        floor: what to subtract from each objective before the relative tolerance is applied to it.
        relative: gap allowed, relative to objective - floor.
        absolute: gap allowed on top of that.
        max_steps: gradient steps, after which a column is returned as it is.
    """
    m, c = linear.shape
    dtype = K.dtype
    more = K.shape[0] - m
    caps = jnp.asarray(np.pad(np.full(m, cap, dtype), (0, more)))
    curvature = largest_eigenvalue(K)
    linear, rho = np.pad(linear.astype(dtype), ((0, more), (0, 0))), rho.astype(dtype)
    uniform = np.pad(np.full((m, 1), 1.0 / m, dtype), ((0, more), (0, 0)))
    # The slowest first, or they would be left to run alone.
    waiting = np.argsort(rho, kind="stable")
    places = 1 if c == 1 and K.shape[0] > _SMALL else _TOGETHER
    columns, waiting = np.resize(waiting, places), waiting[places:]  # which column is solved at each place
    open_ = np.arange(places) < c
    taken = np.zeros(places, int)
    pull, rhos = jnp.asarray(linear[:, columns]), jnp.asarray(rho[columns])
    start = jnp.asarray(np.tile(uniform, places))
    progress = Progress(start, start, np.ones(places, dtype))
    a = np.empty((m, c), dtype)
    certificate = Certificate(np.zeros(c, dtype), np.zeros(c, dtype), np.full(c, np.inf, dtype))
    while True:
        for known, part in zip(certificate, certify(K, pull, rhos, caps, progress.best), strict=True):
            known[columns[open_]] = np.asarray(part)[open_]
        converged = certificate.gap <= relative * (certificate.objective - floor) + absolute
        ended = open_ & (converged[columns] | (taken >= max_steps))
        if ended.any():
            a[:, columns[ended]] = np.asarray(progress.best)[:m, ended]
            filled = np.flatnonzero(ended)[: len(waiting)]
            open_[ended] = False
            open_[filled], taken[filled] = True, 0
            columns[filled], waiting = waiting[: len(filled)], waiting[len(filled) :]
            if not open_.any():
                return Solution(a, certificate, np.asarray(converged))
            pull, rhos = jnp.asarray(linear[:, columns]), jnp.asarray(rho[columns])
            state = Progress(*(np.array(part) for part in progress))
            state.best[:, filled] = state.point[:, filled] = uniform
            state.momentum[filled] = 1.0
            progress = Progress(*(jnp.asarray(part) for part in state))
        progress = _descend(K, pull, rhos, caps, curvature, progress)
        taken += _CHUNK
        if c == 1 and taken[0] % (2 * _CHUNK) == 0:
            polished = _polish(K, pull, rhos, caps, cap, np.asarray(progress.best))
            progress = Progress(polished, polished, np.ones(places, dtype))


def _polish(
    K: Float[Array, "m m"],
    linear: Float[Array, "m c"],
    rho: Float[Array, " c"],
    caps: Float[Array, " m"],
    cap: float,
    a: np.ndarray,
) -> Float[Array, "m c"]:
    """Newton steps on the support while they lower the objective; entries that turn negative leave it.

    All columns are one problem's.
    """
    one_pull, one_rho = jnp.asarray(np.asarray(linear)[:, 0]), jnp.asarray(np.asarray(rho)[0])
    best = np.asarray(certify(K, linear, rho, caps, a).objective)[0]
    for _ in range(3):
        one = a[:, 0]
        free = np.flatnonzero((one > 0) & (one < cap))
        if not 0 < len(free) <= _NEWTON_LIMIT:
            break
        size = 64 * -(-len(free) // 64) if len(free) < 1_024 else 512 * -(-len(free) // 512)
        index = np.full(min(size, len(one)), len(one))
        index[: len(free)] = free
        held = np.where(one >= cap, one, 0.0)
        held[free] = np.asarray(_newton(K, one_pull, one_rho, held, index))[: len(free)]
        # Rounding of the sum is not to be spread over all the rows outside the support.
        within = one > 0
        held[within] = np.clip(held[within] - level(held[within], 1.0, cap), 0.0, cap)
        candidate = np.repeat(held[:, None], a.shape[1], axis=1)
        value = np.asarray(certify(K, linear, rho, caps, candidate).objective)[0]
        if not value < best:
            break
        a, best = candidate, value
    return jnp.asarray(a)
