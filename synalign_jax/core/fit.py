"""One label's weights at a given penalty, with the kernel matrix of the pool held whole."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .kernels import gram
from .problem import Problem, centred, mean_columns
from .quadratic import minimise
from .simplex import level
from .witness import ClosedForm, Witness

_HIGHEST = jax.lax.Precision.HIGHEST


class Fit(NamedTuple):
    """Weights within a label, which sum to 1, and what is known of them.

    `closed_form` gives the weights of these rows and of later ones.
    """

    weights: np.ndarray
    before: float
    after: float
    gap: float
    converged: bool
    closed_form: ClosedForm


def fit_exact(problem: Problem, gamma: float, *, tolerance: float, max_steps: int) -> Fit:
    """Solve with the kernel matrix of the pool held whole."""
    pool, m = problem.take(np.arange(problem.size)), problem.size
    attraction = mean_columns(problem.kernel, pool, problem.real)
    K = centred(gram(problem.kernel, pool, pool), attraction, problem.within_real)
    solution = minimise(
        K,
        jnp.zeros((m, 1), K.dtype),
        jnp.full(1, gamma * m, K.dtype),
        cap=problem.cap,
        floor=np.full(1, gamma),
        relative=tolerance,
        absolute=2.0 * float(jnp.finfo(K.dtype).eps),
        max_steps=max_steps,
    )
    a = solution.a[:, 0]
    h = -np.asarray(jnp.matmul(K, a, precision=_HIGHEST), np.float64)
    constant = float(problem.within_real - attraction @ a)
    keep = np.flatnonzero(np.asarray(a) > 0)
    return Fit(
        weights=np.asarray(a),
        before=float(jnp.mean(K)),
        after=float(solution.certificate.value[0]),
        gap=max(0.0, float(solution.certificate.gap[0])),
        converged=bool(solution.converged[0]),
        closed_form=ClosedForm(
            signed_witness(problem, pool[keep], a[keep]),
            strength=gamma,
            offset=level(h, gamma * m, problem.cap) + constant if gamma > 0 else float("nan"),
            cap=problem.cap * m,
        ),
    )


def signed_witness(problem: Problem, rows: Array, weights: Array, total: float = 1.0) -> Witness:
    """`total` times the mean over the real rows less the weighted rows."""
    n = len(problem.real)
    pull = jnp.full(n, total / n, rows.dtype)
    return Witness(problem.kernel, jnp.concatenate([problem.real, rows]), jnp.concatenate([pull, -weights]))
