"""Accuracy, macro-F1 and the scores of each class, as numbers and as estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import numpy as np

RESAMPLES = 1_000


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its confidence interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ClassScore:
    """One class's F1, and its recall: the share of its `test_rows` that are found."""

    label: str
    test_rows: int
    f1: Estimate
    recall: Estimate


@dataclass(frozen=True)
class StudentScore:
    """What a student trained on one set scores on the real test rows.

    `accuracy` and `macro_f1` belong to the student trained on the set as it is (an MLP: the mean over
    its random starts). `training_spread` is the standard deviation of the accuracy over training sets of
    half the rows. `gain` is the accuracy less the baseline set's, None for the baseline. `classes` are the
    scores class by class. Where rows may have several labels, accuracy is the share of right answers, yes or
    no, over rows and labels, `classes` are the labels, and `micro_f1` is the F1 of all answers together.
    """

    name: str
    rows: int
    effective_rows: float
    accuracy: Estimate
    macro_f1: Estimate
    training_spread: float
    gain: Estimate | None
    classes: tuple[ClassScore, ...] = ()
    micro_f1: Estimate | None = None


@dataclass(frozen=True)
class Comparison:
    """The scores of several training sets on the same test rows."""

    scores: tuple[StudentScore, ...]
    baseline: str
    test_rows: int
    classes: tuple[str, ...]
    seeds: int
    confidence: float


class Scored(NamedTuple):
    """One set's raw results; the first axis is that of `score_counts`."""

    effective_rows: float
    point: np.ndarray  # (scores,)
    spread: np.ndarray  # (scores,) standard deviation over training sets of half the rows
    resampled: np.ndarray  # (scores, resamples) the point student's scores on resampled test rows


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The share of rows whose class is right."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The plain mean over classes of 2 TP / (2 TP + FP + FN), over the classes that occur in either array."""
    classes, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    truth, predicted = np.split(codes, 2)
    return float(score_counts(truth, predicted, np.ones((1, len(truth))), len(classes))[1][0])


def wilson_interval(share: float, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a binomial share; it has width even where every row is right.

    Source: Wilson, JASA 1927.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    center = share + z * z / (2 * rows)
    half = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def summarise(
    name: str,
    rows: int,
    own: Scored,
    base: Scored,
    truth: np.ndarray,
    classes: Sequence[str],
    confidence: float,
) -> StudentScore:
    """Estimates with intervals out of one set's raw results and those of the baseline.

    Args:
        truth: (test rows,) classes, or (test rows, classes) zeros and ones.
    """
    level = 0.5 - confidence / 2, 0.5 + confidence / 2
    z = NormalDist().inv_cdf(level[1])

    def bootstrapped(place: int) -> Estimate:
        return _join(own.point[place], np.quantile(own.resampled[place], level), z * own.spread[place])

    def counted(place: int, of: int) -> Estimate:
        share = own.point[place]
        return _join(share, wilson_interval(share, of, confidence) if of else (0, 1), z * own.spread[place])

    gain = None
    if own is not base:
        gain = _join(
            own.point[0] - base.point[0],
            np.quantile(own.resampled[0] - base.resampled[0], level),
            z * np.hypot(own.spread[0], base.spread[0]),
            floor=-1.0,
        )
    several = truth.ndim == 2
    counts = truth.sum(axis=0) if several else np.bincount(truth, minlength=len(classes))
    return StudentScore(
        name=name,
        rows=rows,
        effective_rows=own.effective_rows,
        # Answers about one row are not independent, so a binomial share they are not.
        accuracy=bootstrapped(0) if several else counted(0, len(truth)),
        macro_f1=bootstrapped(1),
        training_spread=float(own.spread[0]),
        gain=gain,
        classes=tuple(
            ClassScore(label, int(n), bootstrapped(2 + i), counted(2 + len(classes) + i, int(n)))
            for i, (label, n) in enumerate(zip(classes, counts, strict=True))
        ),
        micro_f1=bootstrapped(2 + 2 * len(classes)) if several else None,
    )


def _join(value: float, ends: Any, half_width: float, floor: float = 0.0) -> Estimate:
    """Add an independent half width to both sides of an interval by squares (Zou and Donner, eq. 3)."""
    lower = value - np.hypot(value - min(ends[0], value), half_width)
    upper = value + np.hypot(max(ends[1], value) - value, half_width)
    return Estimate(float(value), float(max(lower, floor)), float(min(upper, 1.0)))


def draw_resamples(key: Any, rows: int) -> np.ndarray:
    """(RESAMPLES, rows) how often each test row occurs in a resample of all rows with replacement."""
    drawn = np.asarray(jax.random.randint(key, (RESAMPLES, rows), 0, rows))
    return np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(np.float32)


def score_counts(truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray, classes: int) -> np.ndarray:
    """(2 + 2 classes, draws): accuracy, macro-F1, F1 and recall of each class; row i occurs counts[draw, i]
    times. Of (rows, classes) zeros and ones accuracy is over all answers, and micro-F1 comes last.
    """
    several = truth.ndim == 2
    eye = np.eye(classes, dtype=np.float32)
    of_truth, of_predicted = (x.astype(np.float32) if several else eye[x] for x in (truth, predicted))
    true_rows, predicted_rows = counts @ of_truth, counts @ of_predicted
    right = counts @ (of_truth * of_predicted)
    occurring = true_rows + predicted_rows
    f1, recall = _share(2 * right, occurring), _share(right, true_rows)
    macro = f1.sum(axis=1) / np.maximum((occurring > 0).sum(axis=1), 1)
    if not several:
        accuracy = right.sum(axis=1) / counts.sum(axis=1)
        return np.concatenate([np.stack([accuracy, macro]), f1.T, recall.T])
    accuracy = (counts @ (truth == predicted).mean(axis=1, dtype=np.float32)) / counts.sum(axis=1)
    micro = _share(2 * right.sum(axis=1), occurring.sum(axis=1))
    return np.concatenate([np.stack([accuracy, macro]), f1.T, recall.T, micro[None]])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part of whole, 0 where that is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
