"""The ways to weigh a pool: as generated, aligned, by trust in its labels, and products of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from synalign_jax.core.align.landmarks.witness import ClosedForm
from synalign_jax.core.align.path import penalty_path, spaced
from synalign_jax.core.kernels import pooled_rbf

from .logistic import fit, log_probabilities
from .task import Task

STRENGTHS = (0.25, 4.0)  # penalties of alignment in noise bands: strong, and on the way to equal weights
_TRUST_PENALTY = 1.5
_PSEUDO_ROWS = 50  # rows that the pool's own label shares count for beside those of the real rows


class Family(NamedTuple):
    """`strength` is a position in STRENGTHS; `trust` a key of `Opinions`; `grouped` spreads weights evenly
    within every group.
    """

    name: str
    strength: int | None = None
    trust: str | None = None
    grouped: bool = False


FAMILIES = (
    Family("as generated"),
    Family("aligned", strength=1),
    Family("aligned strongly", strength=0),
    Family("trusted", trust="near"),
    Family("trusted twice", trust="far"),
    Family("aligned and trusted", strength=1, trust="far"),
)
GROUPED = (
    Family("aligned, by group", strength=0, grouped=True),
    Family("trusted, by group", trust="far", grouped=True),
)


class Opinion(NamedTuple):
    """What students of the real rows and of half the pool think of the pool's labels.

    `own` is (folds + 1, s): the probability of each row's label by the student that saw the other half.
    `students` are the two that saw every real row, for further rows.
    """

    own: Float[np.ndarray, "f s"]
    students: Float[np.ndarray, "2 d1 k"]

    def of(self, z: Float[np.ndarray, "n d"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probabilities of the labels of rows that neither student saw."""
        both = np.exp(log_probabilities(self.students, z)).mean(axis=0)
        return both[np.arange(len(codes)), codes]


class Weigher:
    """Weights of the sample fold by fold, and of any further rows."""

    def __init__(self, task: Task, folds: list[np.ndarray]) -> None:
        self.task = task
        self.kept = np.ones((len(folds) + 1, len(task.real)))
        for fold, rows in enumerate(folds):
            self.kept[fold, rows] = 0.0
        self._aligned, self._rules = self._align(folds)
        z = np.concatenate([task.scale(task.real), task.scale(task.rows)])
        even = np.ones((len(self.kept), len(task.rows)))
        near = self._ask(z, even, float(len(task.real)))
        once = near if len(task.rows) <= len(task.real) else self._ask(z, even, float(len(task.rows)))
        far = self._ask(z, once.own**2, float(len(task.rows)))
        self._opinions = {"near": near, "far": far}

    def sample(self, family: Family, groups: Int[np.ndarray, " s"] | None = None) -> np.ndarray:
        """(folds + 1, s) weights that sum to 1, the last of them learned from all real rows."""
        weights = np.ones((len(self.kept), len(self.task.rows)))
        if family.strength is not None:
            weights = weights * self._aligned[family.strength]
        if family.trust is not None:
            weights = weights * self._opinions[family.trust].own ** 2
        if family.grouped and groups is not None:
            weights = _spread(weights, groups)
        totals = weights.sum(axis=1, keepdims=True)
        return np.where(totals > 0, weights / np.where(totals > 0, totals, 1.0), 1.0 / weights.shape[1])

    def further(
        self, family: Family, rows: np.ndarray, codes: Int[np.ndarray, " r"]
    ) -> Float[np.ndarray, " r"]:
        """Weights of rows outside the sample, on a scale on which the sample's mean (before groups) is that
        of `raw_mean`; labels that the real rows lack get 0.
        """
        weights = np.where(codes >= 0, 1.0, 0.0)
        if family.strength is not None:
            for label in range(self.task.classes):
                of_label = np.flatnonzero(codes == label)
                rule, share = self._rules[family.strength].get(label, (None, 1.0))
                if len(of_label):
                    weights[of_label] *= share * (1.0 if rule is None else rule(rows[of_label]))
        if family.trust is not None:
            known = np.flatnonzero(codes >= 0)
            z = self.task.scale(rows[known])
            weights[known] *= self._opinions[family.trust].of(z, codes[known]) ** 2
        return weights

    def raw(self, family: Family) -> Float[np.ndarray, " s"]:
        """The sample's weights from all real rows, on the scale of `further`."""
        weights = np.ones(len(self.task.rows))
        if family.strength is not None:
            weights = weights * self._aligned[family.strength, -1]
        if family.trust is not None:
            weights = weights * self._opinions[family.trust].own[-1] ** 2
        return weights

    def _align(
        self, folds: list[np.ndarray]
    ) -> tuple[np.ndarray, list[dict[int, tuple[ClosedForm | None, float]]]]:
        """(strengths, folds + 1, s) multiples of the even weight, and each label's rule with its factor."""
        task = self.task
        kernel = pooled_rbf(spaced(task.real), spaced(task.rows))
        multiples = np.ones((len(STRENGTHS), len(self.kept), len(task.rows)))
        rules: list[dict[int, tuple[ClosedForm | None, float]]] = [{} for _ in STRENGTHS]
        n, s = len(task.real), len(task.rows)
        for label in range(task.classes):
            real, rows = np.flatnonzero(task.codes == label), np.flatnonzero(task.row_codes == label)
            if not len(rows):
                continue
            # The label shares of few real rows are noise of their own.
            share = (len(real) + _PSEUDO_ROWS * len(rows) / s) / (n + _PSEUDO_ROWS)
            factor = share * s / len(rows)
            out = [np.flatnonzero(np.isin(real, fold)) for fold in folds]
            path = penalty_path(task.real[real], task.rows[rows], kernel=kernel, factors=STRENGTHS, folds=out)
            if path is None:
                multiples[:, :, rows] = factor
                for rule in rules:
                    rule[label] = (None, factor)
                continue
            multiples[:, :, rows] = path.weights * len(rows) * factor
            for rule, closed in zip(rules, path.rules, strict=True):
                rule[label] = (closed, factor)
        return multiples, rules

    def _ask(self, z: np.ndarray, weights: np.ndarray, total: float) -> Opinion:
        """P(label | text) by students for which the pool counts `total` real rows, each half by the other.

        A student that had seen the row itself would agree with its label; one of the real rows alone knows
        too little where they are few.
        """
        task = self.task
        scaled = weights / weights.mean(axis=1, keepdims=True) * (total / len(task.rows))
        codes = np.concatenate([task.codes, task.row_codes])
        place = np.arange(len(task.rows))
        seen = np.concatenate(
            [np.concatenate([self.kept, 2.0 * scaled * (task.halves == half)], axis=1) for half in (0, 1)]
        )
        found = fit(z, codes, seen, np.full(len(seen), _TRUST_PENALTY), classes=task.classes)
        chances = np.exp(log_probabilities(found, z[len(task.real) :]))[:, place, task.row_codes]
        by_first, by_second = np.split(chances, 2)
        students = found[[len(self.kept) - 1, -1]]
        return Opinion(np.where(task.halves == 0, by_second, by_first), students)


def _spread(weights: Float[np.ndarray, "f s"], groups: Int[np.ndarray, " s"]) -> Float[np.ndarray, "f s"]:
    """Each group's mean, for all rows of the group."""
    counts = np.maximum(np.bincount(groups), 1)
    means = np.stack([np.bincount(groups, row, len(counts)) / counts for row in weights])
    return means[:, groups]
