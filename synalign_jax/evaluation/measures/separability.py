"""Can a classifier tell two sets apart?"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from synalign_jax.core.checks import check_rows
from synalign_jax.evaluation.students import fit, labelled_rows, log_probabilities

_FOLDS = 4
_PENALTY = 1e-2


def two_sample_accuracy(x: Any, y: Any, *, key: Any) -> float:
    """The share of rows whose set a cross-fitted linear classifier names rightly; 0.5 is chance.

    Sets of different sizes count the same: it is the mean of the two shares.

    Source: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017, section 3.

    Raises:
        InputError: bad rows, or fewer than four on a side.
    """
    check_rows("x", x, min_rows=_FOLDS)
    check_rows("y", y, min_rows=_FOLDS, width=x.shape[1])
    order_key, start_key = jax.random.split(key)
    rows = np.concatenate([x, y]).astype(np.float32)
    side = np.repeat([0, 1], [len(x), len(y)])
    fold = np.empty(len(rows), int)
    for part, part_key in zip((0, 1), jax.random.split(order_key), strict=True):
        own = np.flatnonzero(side == part)
        fold[own] = np.asarray(jax.random.permutation(part_key, len(own))) % _FOLDS
    # A copy stays on the side of the folds where its first copy is: it must not be known from training.
    _, group = np.unique(rows, axis=0, return_inverse=True)
    first = np.full(group.max() + 1, len(rows))
    np.minimum.at(first, group.ravel(), np.arange(len(rows)))
    fold = fold[first[group.ravel()]]
    balance = np.where(side == 0, 1 / len(x), 1 / len(y)) * len(rows) / 2
    known = labelled_rows(rows, side, balance, 2)
    kept = {
        (e.tobytes(), int(s)): i for i, (e, s) in enumerate(zip(known.embeddings, known.labels, strict=True))
    }
    place = np.array([kept[(e.tobytes(), int(s))] for e, s in zip(rows, side, strict=True)])
    known_fold = np.zeros(len(known.labels), int)
    known_fold[place] = fold
    weights = np.where(known_fold[None, :] != np.arange(_FOLDS)[:, None], known.weights, 0.0).astype(
        np.float32
    )
    usable = weights.sum(axis=1) > 0
    keys = jax.random.split(start_key, _FOLDS)
    states = fit(known, weights, keys, np.full(_FOLDS, _PENALTY, np.float32), classes=2, head="linear")
    named = log_probabilities(states, rows, classes=2, head="linear").argmax(axis=2)[
        fold, np.arange(len(rows))
    ]
    named = np.where(usable[fold], named, 0)
    return float(np.mean([(named[side == part] == part).mean() for part in (0, 1)]))
