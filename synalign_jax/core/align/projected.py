"""SynAlign's own form: unpenalised weights learned by gradient through fresh random projections."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from synalign_jax.core.kernels import Kernel
from synalign_jax.core.mmd.features import features, random_features
from synalign_jax.core.mmd.mmd import mmd2

from .fit import Fit, signed_witness
from .landmarks.witness import ClosedForm
from .problem import Problem

_PROJECTIONS = 64
_RATE = 0.05


def fit_projections(problem: Problem, *, steps: int, key: PRNGKeyArray) -> Fit:
    """Adam on logits; each step draws Theta anew, so that its gradient is unbiased for MMD^2.

    Source: SynAlign, section 3.3: min over omega of E_Theta ||mean_i phi(z_i) - sum_j omega_j phi(e_j)||^2.
    No dual bound exists on this path: the gap is infinite and `converged` false.
    """
    pool = problem.take(np.arange(problem.size))
    weights = _learn(problem.kernel, problem.real, pool, key, steps)
    return Fit(
        weights=np.asarray(weights),
        before=float(mmd2(problem.real, pool, kernel=problem.kernel)),
        after=float(mmd2(problem.real, pool, y_weights=weights, kernel=problem.kernel)),
        gap=float("inf"),
        converged=False,
        closed_form=ClosedForm(
            signed_witness(problem, pool, weights), strength=0.0, offset=float("nan"), cap=float("inf")
        ),
    )


@partial(jax.jit, static_argnames=("steps",))
def _learn(
    kernel: Kernel, real: Float[Array, "n d"], pool: Float[Array, "m d"], key: PRNGKeyArray, steps: int
) -> Float[Array, " m"]:
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, steps))

    def loss(logits: Array, theta_key: PRNGKeyArray) -> Array:
        theta = random_features(kernel, pool.shape[1], _PROJECTIONS, key=theta_key)
        target = jnp.mean(features(theta, real), axis=0)
        return jnp.sum(jnp.square(target - jax.nn.softmax(logits) @ features(theta, pool)))

    def step(state: tuple[Array, optax.OptState], theta_key: PRNGKeyArray) -> tuple[Any, None]:
        logits, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(logits, theta_key), moments)
        return (optax.apply_updates(logits, updates), moments), None

    start = jnp.zeros(pool.shape[0], pool.dtype)
    (logits, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jax.random.split(key, steps))
    return jax.nn.softmax(logits)
