"""What the mean of the candidates is expected to bring, with the flattery of having chosen it taken off."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .choice import standard_errors
from .judge import Table
from .mixture import Gain
from .verdict import gain_of

_DRAWS = 200
Weigh = Callable[[Float[np.ndarray, "a n"]], Float[np.ndarray, " a"]]


class Expected(NamedTuple):
    """Gains over the real rows alone: in accuracy, and in cross-entropy (positive where the pool helps)."""

    accuracy: Gain
    loss: Gain


def expected(
    table: Table, mean: Table, weigh: Weigh, rng: np.random.Generator, draws: int = _DRAWS
) -> Expected:
    """The gains of the last arm of `mean`, in which the arms of `table` count for what `weigh` says of their
    losses.

    The best of many noisy figures is on average too good. So the arms are weighed again on a random half of
    the rows, and the weighted figures of that half held against those of the other: by as much as they lose
    there, choosing flatters on half of the rows, and by 1 / sqrt(2) of that on all, as noise of means falls
    so. (The idea is that of Tsamardinos, Greasidou and Borboudakis, Machine Learning 107, 2018, who bootstrap
    the rows.)
    """
    hits = table.hits.astype(float) - table.hits[0]
    gains = table.losses[0] - table.losses
    n = hits.shape[1]
    lost = np.zeros((draws, 2))
    for draw in range(draws):
        order = rng.permutation(n)
        seen, unseen = order[: n // 2], order[n // 2 :]
        again = weigh(table.losses[:, seen])
        lost[draw] = [again @ (of[:, seen].mean(axis=1) - of[:, unseen].mean(axis=1)) for of in (hits, gains)]
    flattery = np.maximum(lost.mean(axis=0) / np.sqrt(2.0), 0.0)
    return Expected(
        _less(mean.hits[-1].astype(float) - table.hits[0], flattery[0]),
        _less(table.losses[0] - mean.losses[-1], flattery[1]),
    )


def _less(of: Float[np.ndarray, " n"], flattery: float) -> Gain:
    return gain_of(float(of.mean() - flattery), float(standard_errors(of[None])[0]))
