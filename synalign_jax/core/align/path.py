"""The path from equal weights to full alignment: one label's weights at several penalties, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from synalign_jax.core.kernels import Kernel
from synalign_jax.core.padding import host_gram

from .fit import signed_witness
from .landmarks.witness import ClosedForm
from .problem import centred_gram, split
from .quadratic import minimise
from .simplex import level


class Path(NamedTuple):
    """Attributes:
    weights: (penalties, folds + 1, rows) learned without each fold's real rows, and from all of them; each
        sums to 1.
    rules: of each penalty, the closed form of the weights learned from all real rows, for further rows.
    """

    weights: np.ndarray
    rules: tuple[ClosedForm, ...]


def penalty_path(
    real: Any, rows: Any, *, kernel: Kernel, factors: Sequence[float], folds: Sequence[np.ndarray]
) -> Path | None:
    """Weights of `rows` at penalties of so many noise bands, all of them columns of one solve.

    Args:
        real: (n, d) real rows of one label.
        rows: (m, d) synthetic rows of that label.
        factors: penalties in units of the noise band, above 0.
        folds: positions in `real` to leave out; a fold that holds all real rows leaves out none.

    Returns:
        None where fewer than three real rows, or rows all alike, give no noise band.
    """
    n, m = len(real), len(rows)
    if n < 3 or m < 2:
        return None
    problem = split(real, rows, None, None, None, kernel, None)[0]
    if not problem.noise_band > 0:
        return None
    pool = problem.take(np.arange(m))
    cross = host_gram(kernel, pool, problem.real)
    attraction = cross.mean(axis=1)
    filled = centred_gram(kernel, pool, attraction, problem.within_real)
    out = [fold if len(fold) < n else fold[:0] for fold in (*folds, np.arange(0))]
    sizes = np.array([len(part) for part in out])
    left = np.stack([cross[:, part].sum(axis=1) for part in out], axis=1)
    train = (n * attraction[:, None] - left) / (n - sizes)
    gammas = np.asarray(factors) * problem.noise_band
    solved = minimise(
        filled,
        np.tile(train - attraction[:, None], (1, len(gammas))),
        np.repeat(gammas, len(out)) * m,
        cap=1.0,
        floor=np.zeros(len(gammas) * len(out)),
        relative=0.0,
        absolute=0.02 * problem.noise_band,
        max_steps=400,
    ).a
    weights = solved.T.reshape(len(gammas), len(out), m)
    K, kept = np.asarray(filled)[:m, :m], np.asarray(pool)
    rules = []
    for gamma, a in zip(gammas.tolist(), weights[:, -1], strict=True):
        constant = float(problem.within_real - attraction @ a)
        offset = level(-(K @ a).astype(np.float64), gamma * m, 1.0) + constant
        rules.append(ClosedForm(signed_witness(problem, kept, a), gamma, offset, float(m)))
    return Path(weights / weights.sum(axis=2, keepdims=True), tuple(rules))
