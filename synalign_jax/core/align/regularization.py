"""How strong the penalty towards uniform weights is, and in what space: cross-validation on the real rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint
from synalign_jax.core.checks import InputError
from synalign_jax.core.padding import host_gram
from synalign_jax.core.progress import Tell, silent

from .problem import Problem, centred_gram
from .quadratic import minimise

POWERS = (0.0, 1.0, 2.0)  # candidate spectral powers
_POOL_ROWS = 2_048  # pool rows that cross-validation works on
_FACTORS = 2.0 ** np.arange(-8, 7)  # candidate penalties, in units of the noise band
# With a second power, weak penalties are not chosen and slow to solve for, and steps may be wider.
_FURTHER_FACTORS = _FACTORS[4::2]
_FOLDS = 10
# Real rows up to which each is a fold: which of so few rows share one would decide too much.
_LEAVE_ONE_OUT = 20


class Choice(NamedTuple):
    """A problem in the space chosen for it, its penalty, and the held-out MMD^2 there (as given)."""

    problem: Problem
    gamma: float
    heldout_mmd2: float


def choose(
    problems: Sequence[Problem],
    powers: Sequence[float],
    key: PRNGKeyArray,
    tell: Tell = silent,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> tuple[float, list[Choice]]:
    """One spectral power of `powers` for all problems, and the penalty of each.

    One factor of the noise band serves all labels: the band is how much a real sample of that size errs, and
    pooling the labels' errors steadies a choice that a label of few rows could not make alone. Weights that
    do not beat the strongest penalty of the first power, which leaves them all but equal, by one standard
    error are not trusted: the strongest penalty is chosen (the one-standard-error rule of Breiman et al.,
    "Classification and Regression Trees", 1984, section 3.4.3).
    """
    if all(problem.real.shape[0] < 2 for problem in problems):
        names = [repr(problem.label) for problem in problems if problem.label is not None]
        where = f" (labels {', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
        raise InputError(
            f"real: one row a label{where} cannot be cross-validated; add real rows, leave the labels out, or"
            " give regularization (--regularization)"
        )
    factors = [_FACTORS if i == 0 else _FURTHER_FACTORS for i in range(len(powers))]
    candidates = [(i, factor) for i, of_power in enumerate(factors) for factor in of_power]
    views = [[problem.weighing_components(power) for power in powers] for problem in problems]
    errors: list[np.ndarray] = []
    keys = jax.random.split(key, len(problems))
    for i, (problem, of_problem, problem_key) in enumerate(zip(problems, views, keys, strict=True)):
        tell("cross-validate", i, len(problems))
        if (known := checkpoint.get(f"errors {i}")) is not None:
            errors.append(known["errors"])
        elif problem.real.shape[0] > 1:
            errors.append(_errors(problem, of_problem, factors, problem_key))
            checkpoint.put(f"errors {i}", errors=errors[-1])
        else:
            errors.append(np.full((len(candidates), 1), np.nan))
    best = _trusted(errors, [problem.proportion**2 for problem in problems], len(_FACTORS) - 1)
    power, factor = candidates[best]
    chosen = [of_problem[power] for of_problem in views]
    # A label with one real row has no band of its own; it borrows the largest.
    largest = np.nanmax([view.noise_band for view in chosen])
    bands = [view.noise_band if np.isfinite(view.noise_band) else largest for view in chosen]
    return powers[power], [
        Choice(view, float(factor * band), float(error[best].mean()))
        for view, band, error in zip(chosen, bands, errors, strict=True)
    ]


def _trusted(errors: Sequence[np.ndarray], shares: Sequence[float], equal: int) -> int:
    """The candidate of least error, or `equal` if that is as good within its noise.

    Args:
        errors: of each problem, (candidates, real rows); NaN where it could not be cross-validated.
        shares: what each problem's mean counts in the total.
        equal: the candidate whose weights are all but equal.
    """
    known = [(error, share) for error, share in zip(errors, shares, strict=True) if np.isfinite(error).all()]
    if not known:
        raise InputError(
            "real, synthetic: no held-out distance is a number, so no penalty can be chosen; rescale the"
            " rows, look for rows that are all equal, or give regularization (--regularization)"
        )
    total = np.sum([share * error.mean(axis=1) for error, share in known], axis=0)
    best = int(np.argmin(total))
    variance = sum(
        share**2 * (error[equal] - error[best]).var(ddof=1) / error.shape[1] for error, share in known
    )
    return best if total[equal] - total[best] > variance**0.5 else equal


def _errors(
    problem: Problem, views: Sequence[Problem], factors: Sequence[np.ndarray], key: PRNGKeyArray
) -> np.ndarray:
    """(candidates, real rows) held-out errors, of weights learned in each view without a row's fold.

    The mean over the rows estimates MMD^2 to their law, in the space as given. All folds and penalties of a
    view are columns of one solve.
    """
    n = problem.real.shape[0]
    # NumPy's shuffles: JAX compiles one for every number of rows.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    some = min(problem.size, _POOL_ROWS)
    positions = np.sort(rng.permutation(problem.size)[:some])
    folds = n if n <= _LEAVE_ONE_OUT else _FOLDS
    parts = np.array_split(rng.permutation(n), folds)
    fold_of = np.empty(n, int)
    for fold, part in enumerate(parts):
        fold_of[part] = fold
    pool = problem.take(positions)
    cross = host_gram(problem.kernel, pool, problem.real)
    attraction = cross.mean(axis=1)
    filled = centred_gram(problem.kernel, pool, attraction, problem.within_real)
    K = np.asarray(filled)[:some, :some]
    pairs = problem.within_real - problem.noise_band
    errors = []
    for view, of_view in zip(views, factors, strict=True):
        if view is problem:
            weights = _weights(view, filled, cross, attraction, parts, of_view)
        else:
            seen = view.take(positions)
            towards = host_gram(view.kernel, seen, view.real)
            mean = towards.mean(axis=1)
            within = centred_gram(view.kernel, seen, mean, view.within_real)
            weights = _weights(view, within, towards, mean, parts, of_view)
        # w'Kw + 2 w'attraction - within is the weighted rows' mean kernel value among themselves.
        to_all = np.sum(weights * (K @ weights), axis=0)
        own = (to_all + 2.0 * attraction @ weights).reshape(-1, folds) - problem.within_real
        to_rows = (weights.T @ cross).reshape(-1, folds, n)
        errors.append(own[:, fold_of] - 2.0 * to_rows[:, fold_of, np.arange(n)] + pairs)
    return np.concatenate(errors)


def _weights(
    view: Problem,
    K: Float[Array, "s s"],
    cross: np.ndarray,
    attraction: np.ndarray,
    parts: list[np.ndarray],
    factors: np.ndarray,
) -> np.ndarray:
    """(rows, factors * folds) weights learned without each fold, at each penalty."""
    n, rows, count = view.real.shape[0], len(cross), len(factors)
    sizes = np.array([len(part) for part in parts])
    left_out = np.stack([cross[:, part].mean(axis=1) for part in parts], axis=1)
    train = (n * attraction[:, None] - sizes * left_out) / (n - sizes)
    gammas = factors * view.noise_band
    return minimise(
        K,
        np.tile(train - attraction[:, None], (1, count)),
        np.repeat(gammas, len(parts)) * rows,
        cap=max(view.cap, 1.0 / rows),
        floor=np.zeros(count * len(parts)),
        relative=0.0,
        absolute=0.005 * view.noise_band,
        max_steps=400,
    ).a
