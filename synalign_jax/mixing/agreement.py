"""Which labels of a pool stand up to students that have not seen the row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .logistic import fit, log_probabilities
from .task import PARTS, Task

_ENOUGH = 200
PENALTIES = (1e-3, 1e-2, 1e-1)  # on the mean loss, rows of unit mean squared length


class Agreement(NamedTuple):
    """What students of other rows say of the pool's labels.

    Attributes:
        own: (f, s) the probability of each row's label, f sets of real rows having been seen.
        right: (f, s) 1 where no other label is likelier, else 0.
        students: (k, d + 1, classes - 1) those that saw every real row that any saw, for further rows.
        penalty: on the mean loss, of all of them.
    """

    own: Float[np.ndarray, "f s"]
    right: Float[np.ndarray, "f s"]
    students: Float[np.ndarray, "k d1 c"]
    penalty: float

    def of(
        self, z: Float[np.ndarray, "n d"], codes: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """`own` and `right` of rows that no student saw."""
        chances = np.exp(log_probabilities(self.students, z)).mean(axis=0)
        own = chances[np.arange(len(codes)), codes]
        return own, (own >= chances.max(axis=1)).astype(float)


def within(task: Task) -> Agreement:
    """By students of the rest of the pool, dealt into `PARTS`; the real rows are not asked.

    The penalty is the one under which they foretell the labels best, as these are: labels of which many are
    wrong ask for a strong one, and a student without it learns them by heart. (Rows that students of other
    rows label otherwise: noisy cross-validation of Chen et al., ICML 2019, and what FuseGen, EMNLP 2024,
    weighs down.)
    """
    z, codes, s = task.scale(task.rows), task.row_codes, len(task.rows)
    seen = np.repeat(task.parts[None] != np.arange(PARTS)[:, None], len(PENALTIES), axis=0).astype(np.float32)
    strengths = np.tile(PENALTIES, PARTS) * np.maximum(seen.sum(axis=1), 1.0)
    found = fit(z, codes, seen, strengths, classes=task.classes)
    students = found.reshape(PARTS, len(PENALTIES), *found.shape[1:])
    logs = np.empty((len(PENALTIES), s, task.classes), np.float32)
    for part in range(PARTS):
        held = np.flatnonzero(task.parts == part)
        logs[:, held] = log_probabilities(students[part], z[held])
    best = int(np.argmin(-logs[:, np.arange(s), codes].mean(axis=1)))
    own, right = _of_labels(np.exp(logs[best])[None], codes)
    return Agreement(own, right, students[:, best], PENALTIES[best])


def with_real(task: Task, kept: Float[np.ndarray, "f n"], first: Agreement) -> Agreement:
    """By students of the real rows, those of a fold left out, and of the half of the pool that the row is not
    in, without the rows that `first` finds wrong.

    A student of the real rows alone knows too little where they are few. The penalty is that of `first`.
    """
    z = np.concatenate([task.scale(task.real), task.scale(task.rows)])
    codes = np.concatenate([task.codes, task.row_codes])
    n, halves = len(task.real), task.parts % 2
    trusted = np.broadcast_to(first.right, (len(kept), len(task.rows)))
    seen = np.concatenate([np.concatenate([kept, trusted * (halves == half)], axis=1) for half in (0, 1)])
    strengths = first.penalty * np.maximum(seen.sum(axis=1), 1.0)
    found = fit(z, codes, seen.astype(np.float32), strengths, classes=task.classes)
    chances = np.exp(log_probabilities(found, z[n:]))
    by_first, by_second = np.split(chances, 2)
    own, right = _of_labels(np.where((halves == 0)[:, None], by_second, by_first), task.row_codes)
    return Agreement(own, right, found[[len(kept) - 1, -1]], first.penalty)


def say_nothing(task: Task, pool: Agreement) -> bool:
    """Whether labels are such as chance deals: foretold from the pool's other rows no better, by one standard
    error, than by the commonest label, and no better in cross-entropy than by how common each is.

    Few real rows cannot tell such a pool from a poor one, and no weights make it worth anything. Below
    `_ENOUGH` rows that is not to be told either, and the answer is no.
    """
    s = len(task.rows)
    if s < _ENOUGH:
        return False
    shares = np.bincount(task.row_codes, minlength=task.classes) / s
    hits = pool.right[0] - shares.max()
    gains = np.log(np.maximum(pool.own[0], 1e-12)) - np.log(shares[task.row_codes])
    return all(of.mean() * np.sqrt(s) < of.std() for of in (hits, gains))


def _of_labels(
    chances: Float[np.ndarray, "f s c"], codes: Int[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, "f s"], Float[np.ndarray, "f s"]]:
    own = chances[:, np.arange(len(codes)), codes]
    return own, (own >= chances.max(axis=2)).astype(float)
