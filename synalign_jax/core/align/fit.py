"""One label's weights at a given penalty, with the kernel matrix of the pool held whole."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from synalign_jax.core.padding import host_gram

from .landmarks.witness import ClosedForm, Witness
from .problem import Problem, centred_gram
from .quadratic import minimise
from .simplex import level


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
    attraction = host_gram(problem.kernel, pool, problem.real).mean(axis=1)
    filled = centred_gram(problem.kernel, pool, attraction, problem.within_real)
    K = np.asarray(filled)[:m, :m]
    solution = minimise(
        filled,
        np.zeros((m, 1)),
        np.full(1, gamma * m),
        cap=problem.cap,
        floor=np.full(1, gamma),
        relative=tolerance,
        absolute=2.0 * float(np.finfo(K.dtype).eps),
        max_steps=max_steps,
    )
    a = solution.a[:, 0]
    h = -(K @ a).astype(np.float64)
    constant = float(problem.within_real - attraction @ a)
    keep = np.flatnonzero(a > 0)
    return Fit(
        weights=a,
        before=float(K.mean(dtype=np.float64)),
        after=float(solution.certificate.value[0]),
        gap=max(0.0, float(solution.certificate.gap[0])),
        converged=bool(solution.converged[0]),
        closed_form=ClosedForm(
            signed_witness(problem, np.asarray(pool)[keep], a[keep]),
            strength=gamma,
            offset=level(h, gamma * m, problem.cap) + constant if gamma > 0 else float("nan"),
            cap=problem.cap * m,
        ),
    )


def signed_witness(problem: Problem, rows: Any, weights: Any, total: float = 1.0) -> Witness:
    """`total` times the mean over the real rows less the weighted rows."""
    real, rows = np.asarray(problem.real), np.asarray(rows)
    coefficients = np.concatenate([np.full(len(real), total / len(real)), -np.asarray(weights)])
    centers = jnp.asarray(np.concatenate([real, rows]))
    return Witness(problem.kernel, centers, jnp.asarray(coefficients, centers.dtype))
