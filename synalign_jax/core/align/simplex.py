"""The capped simplex {w : 0 <= w_j <= cap, sum w = total}: its points, and the least of quadratics there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_STEPS = 100  # of which a few Newton steps are taken, or as many bisections as float64 can tell apart
_ROUNDING = 1e-12  # of a sum of 1


@jax.jit
def threshold(x: Float[Array, " m"], total: Float[Array, ""], cap: Float[Array, "*m"]) -> Float[Array, ""]:
    """nu with sum_j clip(x_j - nu, 0, cap) = total, which needs 0 < total <= m cap (or the sum of the caps).

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
    low, high = jnp.min(x - jnp.minimum(cap, total)), jnp.max(x)
    state = (jnp.zeros((), jnp.int32), low, high, first, surplus(first))
    return jax.lax.while_loop(unfinished, tighten, state)[3]


@jax.jit
def project(x: Float[Array, " m"], total: Float[Array, ""], cap: Float[Array, "*m"]) -> Float[Array, " m"]:
    """The nearest point of the capped simplex to `x`."""
    return jnp.clip(x - threshold(x, total, cap), 0.0, cap)


def level(h: np.ndarray, rho: float, cap: float) -> float:
    """nu with sum_j clip((h_j - nu) / rho, 0, cap) = 1: these are the w of the least rho |w|^2 - 2 h' w.

    `threshold` of one vector, in float64 and outside of JAX, which would compile it for every size.
    """
    x = np.asarray(h, np.float64) / rho
    low, high = float((x - min(cap, 1.0)).min()), float(x.max())
    nu = (float(x.sum()) - 1.0) / len(x)
    for _ in range(_STEPS):
        above = x - nu
        miss = float(np.clip(above, 0.0, cap).sum()) - 1.0
        if abs(miss) <= _ROUNDING:
            break
        low, high = (nu, high) if miss > 0 else (low, nu)
        slope = np.count_nonzero((above > 0) & (above < cap))
        newton = nu + miss / max(slope, 1)
        nu = newton if slope and low <= newton <= high else 0.5 * (low + high)
    return float(nu * rho)


def least(h: np.ndarray, rho: float, cap: float) -> float:
    """The least rho |w|^2 - 2 h' w over the capped simplex of total 1, from below."""
    nu = level(h, rho, cap)
    w = np.clip((h - nu) / rho, 0.0, cap)
    # With the multiplier of sum w = 1 written out, rounding in nu cannot make the bound false.
    return float(rho * (w @ w) - 2.0 * (h - nu) @ w - 2.0 * nu)
