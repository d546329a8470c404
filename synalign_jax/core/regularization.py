"""How strong the penalty towards uniform weights is: cross-validation on the real rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .checks import InputError
from .kernels import gram
from .problem import Problem, centred
from .progress import Tell, silent
from .quadratic import minimise

_POOL_ROWS = 2_048  # pool rows that cross-validation works on
_FACTORS = 2.0 ** np.arange(-8, 7)  # candidate penalties, in units of the noise band
_FOLDS = 10
# Real rows up to which each is a fold: which of so few rows share one would decide too much.
_LEAVE_ONE_OUT = 20


def choose(
    problems: Sequence[Problem], key: PRNGKeyArray, tell: Tell = silent
) -> tuple[list[float], list[float]]:
    """Gamma of each problem, and the held-out MMD^2 there, by cross-validation on the real rows.

    One factor of the noise band serves all labels: the band is how much a real sample of that size errs, and
    pooling the labels' curves steadies a choice that a label of few rows could not make alone.
    """
    if all(problem.real.shape[0] < 2 for problem in problems):
        raise InputError("real: one row (a label) cannot be cross-validated; add real rows or give gamma")
    curves = np.zeros(len(_FACTORS))
    each = []
    for i, (problem, problem_key) in enumerate(
        zip(problems, jax.random.split(key, len(problems)), strict=True)
    ):
        tell("cross-validate", i, len(problems))
        curve = _curve(problem, problem_key) if problem.real.shape[0] > 1 else np.full(len(_FACTORS), np.nan)
        each.append(curve)
        curves += problem.proportion**2 * np.nan_to_num(curve)
    best = int(np.argmin(curves))
    bands = [problem.noise_band for problem in problems]
    # A label with one real row has no band of its own; it borrows the largest.
    bands = [band if np.isfinite(band) else max(b for b in bands if np.isfinite(b)) for band in bands]
    return [float(_FACTORS[best] * band) for band in bands], [float(curve[best]) for curve in each]


def _curve(problem: Problem, key: PRNGKeyArray) -> np.ndarray:
    """Held-out MMD^2 for every candidate penalty: all folds and candidates are columns of one solve."""
    n = problem.real.shape[0]
    fold_key, row_key = jax.random.split(key)
    some = min(problem.size, _POOL_ROWS)
    positions = np.sort(np.asarray(jax.random.permutation(row_key, problem.size))[:some])
    pool = problem.take(positions)
    cross = gram(problem.kernel, pool, problem.real)
    attraction = jnp.mean(cross, axis=1)
    K = centred(gram(problem.kernel, pool, pool), attraction, problem.within_real)
    folds = n if n <= _LEAVE_ONE_OUT else _FOLDS
    parts = np.array_split(np.asarray(jax.random.permutation(fold_key, n)), folds)
    validate = jnp.stack([jnp.mean(cross[:, part], axis=1) for part in parts], axis=1)
    sizes = np.array([len(part) for part in parts])
    train = (n * attraction[:, None] - sizes * validate) / (n - sizes)
    gammas = _FACTORS * problem.noise_band
    count = len(gammas)
    linear = jnp.tile(train - attraction[:, None], (1, count))
    solution = minimise(
        K,
        linear.astype(K.dtype),
        jnp.asarray(np.repeat(gammas, folds) * some, K.dtype),
        cap=max(problem.cap, 1.0 / some),
        floor=np.zeros(count * folds),
        relative=0.0,
        absolute=0.02 * problem.noise_band,
        max_steps=400,
    )
    to_train = np.asarray(solution.certificate.value + 2.0 * jnp.sum(linear * solution.a, axis=0))
    towards = np.asarray(jnp.sum((attraction[:, None] - jnp.tile(validate, (1, count))) * solution.a, axis=0))
    pairs = problem.within_real - problem.noise_band
    errors = (to_train + 2.0 * towards - problem.within_real + pairs).reshape(count, folds)
    return errors @ sizes / n
