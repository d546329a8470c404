"""Rows of several labels: each label is a task of its own, and the pool is judged by them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from statistics import fmean
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from synalign_jax.core.effective import effective_rows
from synalign_jax.core.progress import Tell, silent

from .mixture import Candidate, Gain, Mixture
from .verdict import error_of, gain_of, sureness, verdict_of_labels, worth_using

_MOST = 12  # labels that are judged, the most frequent ones
FEWEST_OF_LABEL = 5  # real rows that must have a label, and that must lack it

One = Callable[[list[bool], list[bool], PRNGKeyArray, Tell], Mixture]


def mix_sets(
    real: Sequence[Collection[Any]],
    pool: Sequence[Collection[Any]],
    one: One,
    *,
    key: PRNGKeyArray,
    tell: Tell,
) -> Mixture | None:
    """The mean of the weights that suit each label that the pool helps with, where the mean loss falls.

    Args:
        real, pool: the labels of every row.
        one: mixes for one label, given which rows have it.
        key: decides what `mix` decides by it, label by label.
        tell: hears of each label.

    Returns:
        The mixture, its losses and accuracies means over the labels; None where no label can be judged.
    """
    counts = Counter(label for row in real for label in set(row))
    made = Counter(label for row in pool for label in set(row))
    by_size = sorted(counts, key=lambda label: (-counts[label], str(label)))
    names = [
        label
        for label in by_size
        if FEWEST_OF_LABEL <= counts[label] <= len(real) - FEWEST_OF_LABEL and 0 < made[label] < len(pool)
    ][:_MOST]
    if not names:
        return None
    found = []
    for number, name in enumerate(names):
        tell("judge labels", number, len(names))
        of_real, of_pool = ([name in row for row in side] for side in (real, pool))
        found.append(one(of_real, of_pool, jax.random.fold_in(key, number), silent))
    tell("judge labels", len(names), len(names))
    helped = sum(bool(of_label.weights.any()) for of_label in found)
    gains = [_gain(of_label) for of_label in found]
    gain = fmean(of_label for of_label, _ in gains)
    # Each label is judged on the same real rows: as if their errors were one and the same.
    sure = sureness(gain, fmean(error for _, error in gains))
    used = helped > 0 and worth_using(gain, sure, len(real))
    weights = np.zeros(len(pool), np.float32)
    if used:
        weights = (np.sum([of_label.weights for of_label in found], axis=0) / helped).astype(np.float32)
    total = float(weights.sum(dtype=np.float64))
    accuracy = _mean_gain([of_label.expected_gain for of_label in found])
    candidates = [_mean(arm) for arm in zip(*(of_label.candidates for of_label in found), strict=True)]
    taken = candidates[-1 if used else 0].name
    nothing = Gain(0.0, 0.0, 0.0)
    return Mixture(
        weights=weights,
        share=total / len(real),
        expected_gain=accuracy if used else nothing,
        loss_gain=_mean_gain([of_label.loss_gain for of_label in found]) if used else nothing,
        candidates=tuple(arm._replace(chosen=arm.name == taken) for arm in candidates),
        verdict=verdict_of_labels(
            (helped, len(names), len(counts) - len(names)),
            accuracy,
            sure,
            used=used,
            mean_weight=total / len(pool),
            real_rows=len(real),
        ),
        effective_rows=effective_rows(weights),
        labels={name: float(weights[[name in row for row in pool]].sum(dtype=np.float64)) for name in names},
    )


def _gain(found: Mixture) -> tuple[float, float]:
    """What the pool brings to one label, and its standard error: as `mix` expects it, or as it was tried."""
    if found.weights.any():
        return found.loss_gain.value, error_of(found.loss_gain)
    return found.candidates[0].loss - found.candidates[-1].loss, found.candidates[-1].error


def _mean_gain(gains: list[Gain]) -> Gain:
    """The mean, its error no smaller for being one."""
    return gain_of(fmean(gain.value for gain in gains), fmean(map(error_of, gains)))


def _mean(arm: tuple[Candidate, ...]) -> Candidate:
    """One candidate over the labels."""
    measured = ("share", "loss", "error", "accuracy", "effective_rows", "penalty", "chance")
    return arm[0]._replace(**{name: fmean(getattr(one, name) for one in arm) for name in measured})
