"""Every candidate judged on real rows that neither its weights nor its student have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, kept_or_made
from synalign_jax.core.progress import Tell

from .logistic import COLUMNS, fit, log_probabilities
from .task import Task

PENALTIES = (0.2, 1.0, 5.0, 25.0)


class Arm(NamedTuple):
    """One candidate: a family of weights and their total, in multiples of the real rows' total."""

    family: str
    share: float


REAL_ALONE = Arm("real rows alone", 0.0)
MEAN = "mean of all"


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
    kept: Bool[np.ndarray, "f n"],
    tell: Tell,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Table:
    """Train a student for every arm, penalty and fold, and let it label the fold.

    Args:
        task: real rows and the pool's sample.
        weights: of each family, (folds + 1, s) weights that sum to 1.
        shares: totals to try for every family.
        kept: (folds + 1, n) the real rows that each fold leaves; at last, all.
        tell: hears of each arm.
        checkpoint: keeps what is finished.
    """
    n = len(task.real)
    z = np.concatenate([task.scale(task.real), task.scale(task.rows)])
    codes = np.concatenate([task.codes, task.row_codes])
    folds = [np.flatnonzero(~left) for left in kept[:-1]]
    arms = (REAL_ALONE, *(Arm(family, share) for family in weights for share in shares))
    each = len(PENALTIES) * len(folds)
    together = max(1, COLUMNS // (each * (task.classes - 1)))
    starts = kept_or_made(
        checkpoint, "students of all", lambda: {"starts": _seen_all(task, z, codes, arms, weights)}
    )["starts"]

    def of(first: int) -> dict[str, np.ndarray]:
        some = arms[first : first + together]
        of_arms = [
            np.tile(np.concatenate([kept, _of_pool(arm, weights, n)], axis=1)[:-1], (len(PENALTIES), 1))
            for arm in some
        ]
        begin = np.repeat(starts[first : first + together].reshape(-1, *starts.shape[2:]), len(folds), axis=0)
        strengths = np.tile(np.repeat(PENALTIES, len(folds)), len(some))
        students = fit(z, codes, np.concatenate(of_arms), strengths, classes=task.classes, start=begin)
        losses, hits, penalties = [], [], []
        for students_of_arm in students.reshape(len(some), each, *students.shape[1:]):
            logs = np.empty((len(PENALTIES), n, task.classes), np.float32)
            for fold, rows in enumerate(folds):
                logs[:, rows] = log_probabilities(students_of_arm[fold :: len(folds)], z[rows])
            loss = -logs[:, np.arange(n), task.codes]
            best = int(np.argmin(loss.mean(axis=1)))
            losses.append(loss[best])
            hits.append(logs[best].argmax(axis=1) == task.codes)
            penalties.append(PENALTIES[best])
        return {"losses": np.array(losses), "hits": np.array(hits), "penalties": np.array(penalties)}

    found = []
    for first in range(0, len(arms), together):
        tell("try mixtures", first, len(arms))
        found.append(kept_or_made(checkpoint, f"arms {first}", lambda: of(first)))  # noqa: B023
    losses, hits, penalties = (
        np.concatenate([part[name] for part in found]) for name in ("losses", "hits", "penalties")
    )
    return Table(arms, losses, hits, tuple(penalties.tolist()))


def _seen_all(
    task: Task, z: np.ndarray, codes: np.ndarray, arms: Sequence[Arm], weights: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(arms, penalties, d + 1, k) students of all real rows, near which those of the folds lie."""
    n = len(task.real)
    pools = np.stack([_of_pool(arm, weights, n)[-1] for arm in arms])
    rows = np.concatenate([np.ones((len(arms), n), np.float32), pools], axis=1)
    strengths = np.tile(PENALTIES, len(arms))
    found = fit(z, codes, np.repeat(rows, len(PENALTIES), axis=0), strengths, classes=task.classes)
    return found.reshape(len(arms), len(PENALTIES), *found.shape[1:])


def _of_pool(arm: Arm, weights: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """(folds + 1, s) what the pool's rows count for beside real rows of weight 1."""
    if arm == REAL_ALONE:
        return np.zeros(next(iter(weights.values())).shape, np.float32)
    return (weights[arm.family] * (arm.share * n)).astype(np.float32)
