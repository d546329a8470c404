"""Labels checked by a student of the real rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np

from synalign_jax.evaluation.students import PENALTIES, fit, labelled_rows, log_probabilities
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.seeds import key as key_of

from .chance import beats_chance

FAILS = "the student of the real rows finds another label"
FEWEST = 5  # real rows of a label below which a student is not asked about rows of that label
_FOLDS = 5
# Whoever beats chance by no more than this might still know little: then only what it is surest of counts.
_KNOWS = 1e-3
_SURE = 0.15


def student_of(config: Config, vectors: np.ndarray, labels: Sequence[str]) -> StudentCheck | None:
    """The student that checks labels as the settings ask; None where they ask for none, or fewer than two
    labels have enough real rows.
    """
    if not config.judge.student or len(_frequent(labels)) < 2:
        return None
    return StudentCheck(
        vectors,
        labels,
        strictness=config.judge.strictness,
        key=key_of(config.run.seed, "student"),
        seed=config.run.seed,
    )


def _frequent(labels: Sequence[str]) -> frozenset[str]:
    return frozenset(label for label, count in Counter(labels).items() if count >= FEWEST)


class StudentCheck:
    """A linear student of the real rows' vectors, and how sure of a label it has to be.

    A row fails where another label is likelier, and its own less likely than `threshold`. Rows of a label
    with fewer than five real rows pass: of these a student knows too little.

    Args:
        strictness: the share of the real rows whose labels are less likely than `threshold`, for a student
            that has not seen them; "auto" is all where the student beats chance at 1 in 1,000, else 0.15.

    Attributes:
        accuracy: cross-validated on the real rows.
        usable: whether that is better than chance.
        threshold: probability of its label below which a row fails.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        labels: Sequence[str],
        *,
        strictness: float | Literal["auto"],
        key: jax.Array,
        seed: int,
    ) -> None:
        self._names, self._frequent = sorted(set(labels)), _frequent(labels)
        classes = len(self._names)
        y = np.array([self._names.index(label) for label in labels])
        rows = labelled_rows(vectors, y, None, classes)
        n = len(rows.labels)
        order = np.random.default_rng(seed).permutation(n)
        fold = np.empty(n, int)
        fold[order[np.argsort(rows.labels[order], kind="stable")]] = np.arange(n) % _FOLDS
        # One fit for all: every fold and the whole, at every penalty.
        kept = np.concatenate([fold != np.arange(_FOLDS)[:, None], np.ones((1, n), bool)])
        weights = np.tile(kept * rows.weights, (len(PENALTIES), 1)).astype(np.float32)
        penalties = np.repeat(PENALTIES, _FOLDS + 1)
        keys = jax.random.split(key, len(penalties))
        states = fit(rows, weights, keys, penalties, classes=classes, head="linear")
        logs = log_probabilities(states, rows.embeddings, classes=classes, head="linear")
        logs = logs.reshape(len(PENALTIES), _FOLDS + 1, n, classes)
        held = logs[:, fold, np.arange(n)]  # each row by the student that has not seen it
        true = held[:, np.arange(n), rows.labels]
        best = int(np.argmax(true.mean(axis=1)))
        self._state = jax.tree.map(lambda leaf: leaf[best * (_FOLDS + 1) + _FOLDS][None], states)
        right = held[best].argmax(axis=1) == rows.labels
        self.accuracy = float(right.mean())
        known, correct = [self._names[i] for i in rows.labels], int(right.sum())
        self.usable = beats_chance(correct, known)
        if strictness == "auto":
            strictness = 1.0 if beats_chance(correct, known, level=_KNOWS) else _SURE
        # Of the real rows all may be less sure than a new one.
        self.threshold = {0.0: 0.0, 1.0: 1.0}.get(
            strictness, float(np.quantile(np.exp(true[best]), strictness))
        )

    def verdicts(
        self, rows: Sequence[dict[str, Any]], vectors: np.ndarray
    ) -> list[tuple[str | None, str | None]]:
        """(None, None) for a row whose label holds, else the reason and the likelier label."""
        if not len(rows):
            return []
        classes = len(self._names)
        logs = log_probabilities(
            self._state, np.asarray(vectors, np.float32), classes=classes, head="linear"
        )[0]
        found: list[tuple[str | None, str | None]] = []
        for row, log in zip(rows, logs, strict=True):
            best = self._names[int(log.argmax())]
            own = float(np.exp(log[self._names.index(row["label"])]))
            fails = best != row["label"] and own < self.threshold and row["label"] in self._frequent
            found.append((FAILS, best) if fails else (None, None))
        return found
