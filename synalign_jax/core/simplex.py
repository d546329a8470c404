"""The capped simplex {w : 0 <= w_j <= cap, sum w = total} and the thresholds that put points on it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.jit
def threshold(x: Float[Array, " m"], total: Float[Array, ""], cap: Float[Array, ""]) -> Float[Array, ""]:
    """nu with sum_j clip(x_j - nu, 0, cap) = total, which needs 0 < total <= m cap.

    The sum is piecewise linear and falls in nu, so Newton's step is exact as soon as it stays on one piece; a
    bisection step replaces it when it leaves the bracket.
    """
    tolerance = 16.0 * jnp.finfo(x.dtype).eps * total  # what rounding leaves of a sum

    def surplus(nu: Array) -> Array:
        return jnp.sum(jnp.clip(x - nu, 0.0, cap)) - total

    def unfinished(state: tuple[Array, ...]) -> Array:
        step, _, _, _, miss = state
        return (step < 50) & (jnp.abs(miss) > tolerance)

    def tighten(state: tuple[Array, ...]) -> tuple[Array, ...]:
        step, low, high, nu, miss = state
        low, high = jnp.where(miss > 0, nu, low), jnp.where(miss > 0, high, nu)
        slope = jnp.sum((x > nu) & (x - nu < cap))
        newton = nu + miss / jnp.maximum(slope, 1)
        inside = (slope > 0) & (newton >= low) & (newton <= high)
        nu = jnp.where(inside, newton, 0.5 * (low + high))
        return step + 1, low, high, nu, surplus(nu)

    # Exact already when no entry is clipped.
    first = (jnp.sum(x) - total) / x.shape[0]
    # At `low` every entry reaches the cap or the total alone; at `high` none is left.
    low, high = jnp.min(x) - jnp.minimum(cap, total), jnp.max(x)
    state = (jnp.zeros((), jnp.int32), low, high, first, surplus(first))
    return jax.lax.while_loop(unfinished, tighten, state)[3]


@jax.jit
def project(x: Float[Array, " m"], total: Float[Array, ""], cap: Float[Array, ""]) -> Float[Array, " m"]:
    """The nearest point of the capped simplex to `x`."""
    return jnp.clip(x - threshold(x, total, cap), 0.0, cap)
