"""What the students of an evaluation are trained on, and what they are tested on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from synalign_jax.core.checks import are_label_sets
from synalign_jax.core.effective import effective_rows

from .measures.copying import keys, overlap
from .measures.halves import Side
from .metrics import TrainingSet

_HELD_OUT = 3  # one real row in so many is set aside where no test rows are given
_LEAST_TEST = 20
_FEW_TEST = 100


class LabelledSet:
    """A training set by its rows among all real and pool rows."""

    def __init__(
        self, vectors: np.ndarray, texts: list[str] | None, labels: np.ndarray, weights: np.ndarray
    ) -> None:
        kept = np.flatnonzero(weights > 0)
        self.vectors, self.labels, self.weights = vectors[kept], labels[kept], weights[kept]
        self.texts = None if texts is None else [texts[i] for i in kept]

    def plain(self) -> TrainingSet:
        return TrainingSet(self.vectors, self.labels, self.weights)


def training_sets(
    trained: tuple[Side, Side],
    labels: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray | None,
    kept: list[np.ndarray],
    test: tuple[Side, np.ndarray] | None,
    key: Any,
    notes: list[str],
) -> tuple[dict[str, LabelledSet], tuple[Side, np.ndarray]]:
    """The training sets by name, none where no student can be judged; and the test rows.

    Args:
        labels, test: as `label_array` gives them.
    """
    real, pool = trained
    several = labels[0].dtype == object
    if not several and labels[0].dtype.kind != labels[1].dtype.kind:
        labels = labels[0].astype(str), labels[1].astype(str)
    if test is None:
        aside = _set_aside(labels[0], key)
        rest = np.flatnonzero(~aside)
        if aside.sum() < _LEAST_TEST or len(set(labels[0][aside])) < 2 or len(set(labels[0][rest])) < 2:
            notes.append(
                f"students are not judged: a third of {len(labels[0]):,} real rows is too few to test on;"
                " give test rows"
            )
            return {}, (real, labels[0])
        testing = real.take(np.flatnonzero(aside)), labels[0][aside]
        kept = [kept[0] & ~aside, kept[1]]
        notes.append(f"no test rows were given: {aside.sum():,} of the real rows were set aside to test on")
        own, others = keys(pool.vectors, pool.texts), keys(testing[0].vectors, testing[0].texts)
        if (real.texts is None) == (pool.texts is None) and (found := overlap(own, others)):
            mask = np.ones(len(own), bool)
            mask[[row for row, _ in found]] = False
            kept[1] = kept[1] & mask
            notes.append(f"{len(found):,} pool rows copy a row that was set aside, and were not trained on")
    elif several:
        testing = test
    else:
        testing = test[0], test[1].astype(labels[0].dtype.kind if labels[0].dtype.kind in "iu" else str)
        if labels[0].dtype.kind not in "iu":
            labels = labels[0].astype(str), labels[1].astype(str)
    if len(testing[1]) < _FEW_TEST:
        notes.append(f"only {len(testing[1]):,} test rows: the intervals are wide, and all that can be said")
    _note_labels(labels, testing[1], notes)
    vectors = np.concatenate([np.asarray(real.vectors, np.float32), np.asarray(pool.vectors, np.float32)])
    texts = None if real.texts is None or pool.texts is None else [*real.texts, *pool.texts]
    both = np.concatenate(labels)
    ones, even = kept[0].astype(float), kept[1].astype(float)
    none_real, none_pool = np.zeros(len(ones)), np.zeros(len(even))
    of = {"real": (ones, none_pool), "pool": (none_real, even), "real + pool": (ones, even)}
    if weights is not None:
        scale = effective_rows(weights) if abs(weights.sum() - 1) < 1e-3 else 1.0
        of["pool, weighted"] = (none_real, weights * scale * kept[1])
        of["real + pool, weighted"] = (ones, weights * scale * kept[1])
    sets = {name: LabelledSet(vectors, texts, both, np.concatenate(pair)) for name, pair in of.items()}
    return {name: own for name, own in sets.items() if len(own.labels)}, testing


def label_array(labels: Any) -> np.ndarray:
    """(rows,) text or integers; of rows that may have several, objects: the sorted tuple of each row's."""
    if not are_label_sets(labels):
        return np.asarray(labels)
    found = np.empty(len(labels), object)
    found[:] = [tuple(sorted({str(label) for label in row})) for row in labels]
    return found


def _note_labels(labels: tuple[np.ndarray, np.ndarray], test: np.ndarray, notes: list[str]) -> None:
    of_real, of_pool, of_test = (
        [label for row in side for label in row] if side.dtype == object else side.tolist()
        for side in (*labels, test)
    )
    known = set(of_real)
    for name, values in (("pool", of_pool), ("test", of_test)):
        strange = [y for y in values if y not in known]
        if strange:
            names = ", ".join(repr(y) for y in sorted(set(strange), key=str)[:5])
            notes.append(f"{len(strange):,} {name} rows have labels that no real row has ({names})")


def _set_aside(labels: np.ndarray, key: Any) -> np.ndarray:
    """(rows,) a random third of each label; of combinations of several, of all that are alike or rare."""
    order = np.asarray(jax.random.permutation(key, len(labels)))
    aside = np.zeros(len(labels), bool)
    if labels.dtype == object:
        combinations = sorted(set(labels))
        place = {own: number for number, own in enumerate(combinations)}
        by_combination = sorted(order.tolist(), key=lambda row: place[labels[row]])
        aside[by_combination[_HELD_OUT - 1 :: _HELD_OUT]] = True
        return aside
    for label in np.unique(labels):
        own = order[labels[order] == label]
        aside[own[: len(own) // _HELD_OUT]] = True
    return aside
