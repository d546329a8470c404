"""Which labels of a pool stand up to students that have not seen the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, kept_or_made

from .logistic import fit, log_probabilities
from .task import PARTS, Task

_ENOUGH = 200
PENALTIES = (1e-3, 1e-2, 1e-1)  # on the mean loss, rows of unit mean squared length


class Agreement(NamedTuple):
    """What students of other rows say of the pool's labels, on the mean of all deals.

    Attributes:
        own: (f, s) the probability of each row's label, f sets of real rows having been seen, or f pools.
        right: (f, s) the share of the deals in which no other label is likelier.
        once: (2, s) both as one deal says, of all real rows that any saw.
        students: (k, d + 1, classes - 1) those that saw every real row that any saw, for further rows.
        penalty: on the mean loss, of those students.
    """

    own: Float[np.ndarray, "f s"]
    right: Float[np.ndarray, "f s"]
    once: Float[np.ndarray, "2 s"]
    students: Float[np.ndarray, "k d1 c"]
    penalty: float

    def of(
        self, z: Float[np.ndarray, "n d"], codes: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """`own` and `right` of rows that no student saw."""
        own, right = _of_labels(np.exp(log_probabilities(self.students, z)), codes)
        return own.mean(axis=0), right.mean(axis=0)

    def packed(self) -> dict[str, np.ndarray]:
        """It as arrays; `unpacked` is the way back."""
        return {name: np.asarray(value) for name, value in self._asdict().items()}

    @staticmethod
    def unpacked(arrays: Mapping[str, np.ndarray]) -> Agreement:
        return Agreement(**{**arrays, "penalty": float(arrays["penalty"])})


def within(task: Task, there: Bool[np.ndarray, "f s"], checkpoint: Checkpoint = NO_CHECKPOINT) -> Agreement:
    """By students of the rest of the pool, dealt into `PARTS` in several ways; the real rows are not asked.

    The penalty is the one under which they foretell the labels best, as these are: labels of which many are
    wrong ask for a strong one, and a student without it learns them by heart. (Rows that students of other
    rows label otherwise: noisy cross-validation of Chen et al., ICML 2019, and what FuseGen, EMNLP 2024,
    weighs down.) One deal decides by chance on a row that students find hard; several vote on it.

    Each of the f pools is the rows that `there` holds; equal ones are asked once, and further rows are for
    the students of the last.
    """
    pools, of_pool = np.unique(there, axis=0, return_inverse=True)
    found = [
        Agreement.unpacked(
            kept_or_made(
                checkpoint, f"opinions of the pool {i}", lambda pool=pool: _within(task, pool).packed()
            )
        )
        for i, pool in enumerate(pools)
    ]
    of_pool = of_pool.ravel()
    own, right = (np.concatenate(of)[of_pool] for of in ([a.own for a in found], [a.right for a in found]))
    return found[of_pool[-1]]._replace(own=own, right=right)


def _within(task: Task, there: Bool[np.ndarray, " s"]) -> Agreement:
    z, codes, s = task.scale(task.rows), task.row_codes, len(task.rows)
    deals = len(task.parts)
    others = (task.parts[:, None] != np.arange(PARTS)[:, None]) & there
    seen = others.reshape(deals * PARTS, s).astype(np.float32)
    strengths = np.tile(PENALTIES, len(seen)) * np.repeat(np.maximum(seen.sum(axis=1), 1.0), len(PENALTIES))
    found = fit(z, codes, np.repeat(seen, len(PENALTIES), axis=0), strengths, classes=task.classes)
    students = found.reshape(deals, PARTS, len(PENALTIES), *found.shape[1:])
    logs = np.empty((len(PENALTIES), deals, s, task.classes), np.float32)
    for deal, parts in enumerate(task.parts):
        for part in range(PARTS):
            held = np.flatnonzero(parts == part)
            logs[:, deal, held] = log_probabilities(students[deal, part], z[held])
    losses = -logs[..., np.arange(s), codes][..., there]
    best = int(np.argmin(losses.mean(axis=(1, 2)))) if there.any() else 0
    own, right = _of_labels(np.exp(logs[best]), codes)
    return Agreement(
        own=own.mean(axis=0)[None],
        right=right.mean(axis=0)[None],
        once=np.stack([own[0], right[0]]),
        students=students[:, :, best].reshape(-1, *found.shape[1:]),
        penalty=PENALTIES[best],
    )


def with_real(
    task: Task,
    kept: Float[np.ndarray, "f n"],
    there: Bool[np.ndarray, "f s"],
    first: Agreement,
) -> Agreement:
    """By students of the real rows, those of a fold left out, and of the parts of the pool that a row is not
    in, rows that `first` finds wrong counting less.

    A student of the real rows alone knows too little where they are few. The penalty is that of `first`.
    `there` holds the rows of the pool that go with each of the f sets of real rows.
    """
    z = np.concatenate([task.scale(task.real), task.scale(task.rows)])
    codes = np.concatenate([task.codes, task.row_codes])
    n, (deals, s), f = len(task.real), task.parts.shape, len(kept)
    seen = np.empty((deals, PARTS, f, n + s), np.float32)
    seen[..., :n] = kept
    others = task.parts[:, None] != np.arange(PARTS)[:, None]
    seen[..., n:] = others[:, :, None] * (first.right * there)
    seen = seen.reshape(-1, n + s)
    strengths = first.penalty * np.maximum(seen.sum(axis=1), 1.0)
    found = fit(z, codes, seen, strengths, classes=task.classes)
    students = found.reshape(deals, PARTS, f, *found.shape[1:])
    own, right = np.empty((2, deals, f, s))
    for deal, part in np.ndindex(deals, PARTS):
        held = np.flatnonzero(task.parts[deal] == part)
        chances = np.exp(log_probabilities(students[deal, part], z[n + held]))
        own[deal, :, held], right[deal, :, held] = (
            each.T for each in _of_labels(chances, task.row_codes[held])
        )
    once = np.stack([own[0, -1], right[0, -1]])
    of_all = students[:, :, -1].reshape(-1, *found.shape[1:])
    return Agreement(own.mean(axis=0), right.mean(axis=0), once, of_all, first.penalty)


def say_nothing(task: Task, there: Bool[np.ndarray, " s"], pool: Agreement) -> bool:
    """Whether labels of the rows that are there are such as chance deals: foretold from the pool's other rows
    no better, by one standard error, than by the commonest label, and no better in cross-entropy than by how
    common each is.

    Few real rows cannot tell such a pool from a poor one, and no weights make it worth anything. Below
    `_ENOUGH` rows that is not to be told either, and the answer is no. One deal is asked: the mean of several
    varies less from row to row, though they share their rows and are no surer.
    """
    s, codes, (own, right) = np.count_nonzero(there), task.row_codes[there], pool.once[:, there]
    if s < _ENOUGH:
        return False
    shares = np.bincount(codes, minlength=task.classes) / s
    hits = right - shares.max()
    gains = np.log(np.maximum(own, 1e-12)) - np.log(shares[codes])
    return all(of.mean() * np.sqrt(s) < of.std() for of in (hits, gains))


def _of_labels(
    chances: Float[np.ndarray, "f s c"], codes: Int[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, "f s"], Float[np.ndarray, "f s"]]:
    own = chances[:, np.arange(len(codes)), codes]
    return own, (own >= chances.max(axis=2)).astype(float)
