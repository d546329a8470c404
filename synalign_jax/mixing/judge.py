"""Every candidate judged on real rows that neither its weights nor its student have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from synalign_jax.core.progress import Tell

from .logistic import COLUMNS, fit, log_probabilities
from .task import Task

PENALTIES = (0.3, 1.5, 7.0, 35.0)


class Arm(NamedTuple):
    """One candidate: a family of weights and their total, in multiples of the real rows' total."""

    family: str
    share: float


REAL_ALONE = Arm("real rows alone", 0.0)


class Table(NamedTuple):
    """Held-out results of every real row, each arm at the penalty of least loss.

    Attributes:
        arms: the candidates; the first is the real rows alone.
        losses: (arms, n) cross-entropy of each real row.
        hits: (arms, n) whether the likeliest label was right.
        penalties: of each arm's student.
    """

    arms: tuple[Arm, ...]
    losses: Float[np.ndarray, "a n"]
    hits: Bool[np.ndarray, "a n"]
    penalties: tuple[float, ...]


def judge(
    task: Task,
    weights: Mapping[str, Float[np.ndarray, "f s"]],
    shares: Sequence[float],
    folds: Sequence[np.ndarray],
    tell: Tell,
) -> Table:
    """Train a student for every arm, penalty and fold, and let it label the fold.

    Args:
        task: real rows and the pool's sample.
        weights: of each family, (folds + 1, s) weights that sum to 1.
        shares: totals to try for every family.
        folds: positions of the real rows held out together.
        tell: hears of each arm.
    """
    n = len(task.real)
    z = np.concatenate([task.scale(task.real), task.scale(task.rows)])
    codes = np.concatenate([task.codes, task.row_codes])
    kept = np.ones((len(folds), n), np.float32)
    for fold, rows in enumerate(folds):
        kept[fold, rows] = 0.0
    arms = (REAL_ALONE, *(Arm(family, share) for family in weights for share in shares))
    each = len(PENALTIES) * len(folds)
    together = max(1, COLUMNS // (each * (task.classes - 1)))
    losses, hits, penalties = [], [], []
    for start in range(0, len(arms), together):
        tell("try mixtures", start, len(arms))
        some = arms[start : start + together]
        of_arms = [
            np.tile(np.concatenate([kept, _of_pool(arm, weights, kept)], axis=1), (len(PENALTIES), 1))
            for arm in some
        ]
        strengths = np.tile(np.repeat(PENALTIES, len(folds)), len(some))
        students = fit(z, codes, np.concatenate(of_arms), strengths, classes=task.classes)
        for students_of_arm in students.reshape(len(some), each, *students.shape[1:]):
            logs = np.empty((len(PENALTIES), n, task.classes), np.float32)
            for fold, rows in enumerate(folds):
                logs[:, rows] = log_probabilities(students_of_arm[fold :: len(folds)], z[rows])
            loss = -logs[:, np.arange(n), task.codes]
            best = int(np.argmin(loss.mean(axis=1)))
            losses.append(loss[best])
            hits.append(logs[best].argmax(axis=1) == task.codes)
            penalties.append(PENALTIES[best])
    return Table(arms, np.array(losses), np.array(hits), tuple(penalties))


def _of_pool(arm: Arm, weights: Mapping[str, np.ndarray], kept: np.ndarray) -> np.ndarray:
    """(folds, s) what the pool's rows count for beside real rows of weight 1."""
    folds, n = kept.shape
    if arm == REAL_ALONE:
        return np.zeros((folds, next(iter(weights.values())).shape[1]), np.float32)
    return (weights[arm.family][:folds] * (arm.share * n)).astype(np.float32)
