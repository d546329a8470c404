"""Accuracy and macro-F1 of students on real test rows, with intervals that say what they cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from synalign_jax.core.checks import InputError, are_label_sets, check_rows, check_weights
from synalign_jax.core.effective import effective_rows

from .scores import Comparison, Scored, draw_resamples, score_counts, summarise
from .students import (
    LabelledRows,
    choose_penalty,
    fit,
    labelled_rows,
    log_probabilities,
    thinned,
)

MOST_ROWS = 32_768  # of a training set that students see


class Diverged(ArithmeticError):
    """A student whose scores are not finite."""


@dataclass(frozen=True)
class TrainingSet:
    """Rows that a student is trained on: embeddings (rows, width), labels and weights (rows,)."""

    embeddings: Any
    labels: Any
    weights: Any = None


def compare_training_sets(
    sets: Mapping[str, TrainingSet | tuple],
    test_embeddings: Any,
    test_labels: Any,
    *,
    key: Any,
    baseline: str | None = None,
    seeds: int = 32,
    confidence: float = 0.95,
    head: str = "linear",
    on_progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Train students on every set and score them on the same real test rows.

    The intervals cover two sources of chance. *Test rows*: Wilson's interval for the accuracy, 1,000
    bootstrap resamples for macro-F1 and, paired, for the gain. *Training rows*: `seeds` further students,
    one on each half of random, stratified splits of the set, with starts of their own. The halves of a
    split are independent, so their scores differ as those of other draws of half the rows would; that is
    taken for the whole set's spread, which it bounds where more rows make a student steadier. The two are
    joined by square and add (Zou and Donner, Statistics in Medicine 2008). Not covered: what the LLM would
    have written from another few-shot set, or in another run. Below about 100 training rows the intervals
    are too narrow (docs/evaluation.md has the measured coverage). Of a set of more than 32,768 rows students
    are trained on so many, drawn by their weights: what a linear student learns from more is far less than
    the intervals.

    Args:
        sets: name -> TrainingSet or (embeddings, labels) or (embeddings, labels, weights). Labels are
            strings or integers, the same kind everywhere; or a tuple, list or set of them for every row: then
            a student says yes or no to each label, and accuracy counts these answers.
        test_embeddings: (rows, width) real rows that nothing was trained or chosen on.
        test_labels: (rows,) their labels. A class that a training set lacks is counted as wrong.
        key: draws the bootstrap weights, resamples and random starts.
        baseline: the set that `gain` is measured against; None is the first.
        seeds: students for the training spread, two a split.
        on_progress: called with 1 after each set; the students of a set are trained together.

    Raises:
        InputError: no set, arrays that do not fit together, fewer than two classes, a student that diverges
            (the set is named), or a bad setting.
    """
    if not sets:
        raise InputError("sets: empty; give at least one training set")
    baseline = next(iter(sets)) if baseline is None else baseline
    if baseline not in sets:
        raise InputError(f"baseline: {baseline!r} is not among the sets {sorted(sets)}")
    if seeds < 2:
        raise InputError(f"seeds: {seeds}; at least 2 are needed for a spread")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: {confidence}; it lies between 0 and 1, as 0.95")
    sets = {name: s if isinstance(s, TrainingSet) else TrainingSet(*s) for name, s in sets.items()}
    check_rows("test embeddings", test_embeddings)
    test = np.asarray(test_embeddings, np.float32)
    for name, training in sets.items():
        check_rows(f"{name} embeddings", training.embeddings, width=test.shape[1])
    classes, (truth, *codes) = _encode(
        [("test", test_labels, len(test))] + [(name, s.labels, len(s.embeddings)) for name, s in sets.items()]
    )

    resample_key, *set_keys = jax.random.split(key, len(sets) + 1)
    resamples = draw_resamples(resample_key, len(test))
    scored = {}
    for (name, training), labels, set_key in zip(sets.items(), codes, set_keys, strict=True):
        training, labels, effective = _few_enough(name, training, labels, set_key)
        rows = labelled_rows(training.embeddings, labels, training.weights, len(classes))
        try:
            scored[name] = _score(rows, test, truth, resamples, set_key, len(classes), seeds, head)
            if effective is not None:
                scored[name] = scored[name]._replace(effective_rows=effective)
        except Diverged as error:
            raise InputError(
                f"{name}: a student diverged, its scores are not finite; look for weights or embeddings of"
                " very different size"
            ) from error
        if on_progress is not None:
            on_progress(1)
    names = tuple(str(c) for c in classes)
    return Comparison(
        tuple(
            summarise(name, len(sets[name].embeddings), own, scored[baseline], truth, names, confidence)
            for name, own in scored.items()
        ),
        baseline,
        len(test),
        names,
        seeds,
        confidence,
    )


def _few_enough(
    name: str, training: TrainingSet, labels: np.ndarray, key: Any
) -> tuple[TrainingSet, np.ndarray, float | None]:
    """The set itself; of a larger one some rows with their weights, and how many rows all are worth."""
    if len(training.embeddings) <= MOST_ROWS:
        return training, labels, None
    weights = np.ones(len(labels)) if training.weights is None else np.asarray(training.weights, np.float64)
    check_weights(f"{name} weights", weights, len(labels))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    rows, own = thinned(weights, MOST_ROWS, rng)
    return (
        TrainingSet(np.asarray(training.embeddings[rows]), None, own),
        labels[rows],
        effective_rows(weights),
    )


def _score(
    rows: LabelledRows,
    test: np.ndarray,
    truth: np.ndarray,
    resamples: np.ndarray,
    key: Any,
    classes: int,
    seeds: int,
    head: str,
) -> Scored:
    """Train on the rows as they are and on random halves of them, in one compiled call, and score all."""
    fold_key, start_key, split_key = jax.random.split(key, 3)
    penalty = choose_penalty(rows, key=fold_key, classes=classes, head=head)
    points = 1 if head == "linear" else seeds  # the linear student has no random start
    halves = rows.weights * _halves(split_key, rows.strata(), seeds // 2)
    weights = np.concatenate([np.tile(rows.weights, (points, 1)), halves])
    # A half without weight says nothing of other draws of the rows: the whole set stands in for it.
    weights[weights.sum(axis=1) == 0] = rows.weights
    keys = jax.random.split(start_key, len(weights))
    penalties = np.full(len(weights), penalty, np.float32)
    states = fit(rows, weights, keys, penalties, classes=classes, head=head)
    predicted = log_probabilities(states, test, classes=classes, head=head, several=rows.several)
    if not np.isfinite(predicted).all():
        raise Diverged
    predicted = predicted > np.log(0.5) if rows.several else predicted.argmax(axis=2)

    everything = np.ones((1, len(truth)), np.float32)
    point = np.mean([score_counts(truth, p, everything, classes)[:, 0] for p in predicted[:points]], axis=0)
    resampled = np.array([score_counts(truth, p, resamples, classes) for p in predicted])
    return Scored(
        effective_rows=effective_rows(rows.weights),
        point=point,
        spread=_training_spread(resampled[points:]),
        resampled=resampled[:points].mean(axis=0),
    )


def _halves(key: Any, labels: np.ndarray, splits: int) -> np.ndarray:
    """(2 splits, rows) zeros and ones: random halves, stratified by label, each before its complement."""
    order = np.random.default_rng(np.asarray(jax.random.key_data(key))).random((splits, len(labels)))
    order = np.lexsort((order, np.broadcast_to(labels, order.shape)), axis=1)
    first = np.zeros(order.shape, np.float32)
    np.put_along_axis(first, order[:, ::2], 1.0, axis=1)
    return np.stack([first, 1 - first], axis=1).reshape(2 * splits, len(labels))


def _training_spread(resampled: np.ndarray) -> np.ndarray:
    """(scores,) standard deviation that the choice of training rows gives each score.

    The halves of a split are independent training sets, so half the mean squared difference of their
    scores is the variance over training sets of that size, once the part is taken away that the finite
    test set adds: the variance of the same difference over resampled test rows.

    Args:
        resampled: (2 splits, scores, resamples) as `_halves` orders the students.
    """
    difference = resampled[::2] - resampled[1::2]
    # The mean square over resamples holds the test rows' variance twice: theirs, and the resampling's own.
    variance = np.square(difference).mean(axis=2) - 2 * difference.var(axis=2)
    return np.sqrt(np.maximum(variance.mean(axis=0) / 2, 0.0))


def _encode(labelled: Sequence[tuple[str, Any, int]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All classes, sorted, and the labels of every (name, labels, rows) as indices into them.

    Raises:
        InputError: labels of the wrong shape, of two kinds, or of one class alone.
    """
    if any(are_label_sets(labels) for _, labels, _ in labelled):
        return _encode_sets(labelled)
    arrays = [np.asarray(labels) for _, labels, _ in labelled]
    for array, (name, _, rows) in zip(arrays, labelled, strict=True):
        if array.shape != (rows,):
            raise InputError(f"{name} labels: expected shape ({rows},), got {array.shape}")
    if len({array.dtype.kind in "iu" for array in arrays}) > 1:
        raise InputError("labels: integers in some sets and text in others; make them the same kind")
    classes, codes = _codes(arrays)
    if len(classes) < 2:
        raise InputError(f"labels: only the class {classes[0]!r} occurs; a student needs at least two")
    return classes, codes


def _encode_sets(labelled: Sequence[tuple[str, Any, int]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All labels, sorted, and for every (name, labels, rows) zeros and ones, a column a label."""
    for name, labels, rows in labelled:
        if len(labels) != rows or not are_label_sets(labels):
            raise InputError(f"{name} labels: expected a tuple of labels for each of {rows} rows")
    names = sorted({label for _, labels, _ in labelled for row in labels for label in row}, key=str)
    if not names:
        raise InputError("labels: no row has any")
    column = {label: number for number, label in enumerate(names)}
    codes = []
    for _, labels, rows in labelled:
        marked = np.zeros((rows, len(names)), np.int32)
        for row, own in enumerate(labels):
            marked[row, [column[label] for label in own]] = 1
        codes.append(marked)
    return np.array([str(label) for label in names]), codes


def _codes(arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """`numpy.unique` of all with its inverse; text without sorting it, which takes a minute for millions."""
    if any(array.dtype.kind != "U" for array in arrays):
        classes, codes = np.unique(np.concatenate(arrays), return_inverse=True)
        return classes, np.split(codes, np.cumsum([len(array) for array in arrays])[:-1])
    classes = np.array(sorted(set().union(*(set(array.tolist()) for array in arrays))))
    code = {label: number for number, label in enumerate(classes.tolist())}
    return classes, [
        np.fromiter(map(code.__getitem__, array.tolist()), np.int64, len(array)) for array in arrays
    ]
