"""What the choice is expected to bring, with the flattery of having chosen taken off."""

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


class Expected(NamedTuple):
    """Gains over the real rows alone: in accuracy, and in cross-entropy (positive where the pool helps)."""

    accuracy: Gain
    loss: Gain


def expected(
    table: Table, arm: int, pick: Callable[[Table], int], rng: np.random.Generator, draws: int = _DRAWS
) -> Expected:
    """The gains of `arm`, which `pick` took from the table, corrected for its being the best of many.

    The best of many noisy figures is on average too good. So the pick is made again on a random half of the
    rows and held against its own figures on the other half: by as much as it loses there, picking flatters
    on half of the rows, and by 1 / sqrt(2) of that on all, as noise of means falls so. (The idea is that of
    Tsamardinos, Greasidou and Borboudakis, Machine Learning 107, 2018, who bootstrap the rows.)
    """
    hits = table.hits.astype(float) - table.hits[0]
    gains = table.losses[0] - table.losses
    n = hits.shape[1]
    lost = np.zeros((draws, 2))
    for draw in range(draws):
        order = rng.permutation(n)
        seen, unseen = order[: n // 2], order[n // 2 :]
        again = pick(table._replace(losses=table.losses[:, seen], hits=table.hits[:, seen]))
        lost[draw] = [of[again, seen].mean() - of[again, unseen].mean() for of in (hits, gains)]
    flattery = np.maximum(lost.mean(axis=0) / np.sqrt(2.0), 0.0)
    return Expected(_less(hits, arm, flattery[0]), _less(gains, arm, flattery[1]))


def _less(of: Float[np.ndarray, "a n"], arm: int, flattery: float) -> Gain:
    return gain_of(float(of[arm].mean() - flattery), float(standard_errors(of)[arm]))
