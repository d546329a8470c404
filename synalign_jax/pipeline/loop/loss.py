"""What a student of the real rows and the new ones loses on real rows that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.mixing.judge import PENALTIES
from synalign_jax.mixing.logistic import fit, log_probabilities
from synalign_jax.pipeline.data.growing import VectorsOnDisk

from .weights import Picture, Weigher

_FEWEST = 5  # real rows of a label below which folds of it say nothing
_MOST = 2_048  # new rows that a student is trained on; of more, as many evenly among them


class StudentLoss:
    """Cross-validated loss of linear students, in the folds that the weights were learnt in.

    A new row counts its weight, and all together as many real rows as they are, at most as many as there are.

    Attributes:
        alone: of students of the real rows alone; None where there is nothing to judge by.
    """

    def __init__(self, real: np.ndarray, labels: Sequence[str], weigher: Weigher, most: int) -> None:
        """`most` is the number of new rows there can be: one compiled solve serves every wave."""
        self._code = {label: code for code, label in enumerate(sorted(set(labels)))}
        self._codes = np.array([self._code[label] for label in labels])
        self._real, self._fold = np.asarray(real, np.float32), weigher.fold
        self._room = min(most, _MOST)
        self._center = self._real.mean(axis=0)
        self._size = float(np.sqrt(np.square(self._real - self._center).sum(axis=1).mean())) or 1.0
        self._before: np.ndarray | None = None  # students of the wave before: those of the next begin as they
        enough = len(self._code) > 1 and np.bincount(self._codes).min() >= _FEWEST
        self.alone = self._loss(self._real[:0], self._codes[:0], None) if enough else None

    def __call__(
        self, made: Float[np.ndarray, "m d"] | VectorsOnDisk, labels: Sequence[str], picture: Picture
    ) -> float | None:
        """The loss with the new rows; None where `alone` is None."""
        if self.alone is None or not len(made):
            return self.alone
        of_label, names = np.asarray(labels), list(labels)
        held = np.ones((len(made), self._fold.max() + 1))
        for label, own in picture.labels.items():
            held[of_label == label, : own.held.shape[1]] = own.held
        some = evenly_spaced(len(made), self._room)
        codes = np.array([self._code[names[i]] for i in some])
        total = min(len(made), len(self._real))
        return self._loss(made[some], codes, held[some].T * (total / len(some)))

    def _loss(self, made: np.ndarray, codes: np.ndarray, held: np.ndarray | None) -> float:
        n, folds = len(self._real), int(self._fold.max()) + 1
        rows = np.zeros((n + self._room, self._real.shape[1]), np.float32)
        rows[:n], rows[n : n + len(made)] = self._real, made
        rows = (rows - self._center) / self._size
        of_row = np.zeros(n + self._room, np.int32)
        of_row[:n], of_row[n : n + len(made)] = self._codes, codes
        weights = np.zeros((folds, n + self._room), np.float32)
        weights[:, :n] = self._fold != np.arange(folds)[:, None]
        if held is not None:
            weights[:, n : n + len(made)] = held
        classes = len(self._code)
        found = fit(
            rows,
            of_row,
            np.tile(weights, (len(PENALTIES), 1)),
            np.repeat(PENALTIES, folds),
            classes=classes,
            start=self._before,
        )
        self._before = found
        students = found.reshape(len(PENALTIES), folds, -1, classes - 1)
        logs = np.empty((len(PENALTIES), n, classes))
        for fold in range(folds):
            seen = self._fold == fold
            logs[:, seen] = log_probabilities(students[:, fold], rows[:n][seen])
        return float(-logs[:, np.arange(n), self._codes].mean(axis=1).max())
