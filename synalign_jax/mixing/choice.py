"""Which candidate is taken: the one whose gain over a good first guess is surest."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .judge import REAL_ALONE, Table

INCUMBENT = "agreed with the real rows"
_ROWS = 1_500
_LEVEL = 0.05


class Choice(NamedTuple):
    """`arm` is a position in the table; `incumbent` that of the good first guess."""

    arm: int
    incumbent: int


def choose(table: Table) -> Choice:
    """The arm of least loss, so many standard errors of its difference to the incumbent's added that the best
    of all passes it by chance once in twenty times (Bonferroni).

    The incumbent is the pool without the rows that students of the real rows and its other rows label
    otherwise, counting together for about 1,500: on average the best single guess. Everything else has to
    beat it by more than noise, as in the one-standard-error rule of Breiman et al. ("Classification and
    Regression Trees", 1984, section 3.4.3), on differences row by row; the best of many is lucky.

    What is found so has to beat the real rows alone in mean loss, or these are taken. No more is asked: few
    rows train a student so poor that nearly every pool improves on it, and are too few to show it surely.
    """
    incumbent = min(
        (i for i, arm in enumerate(table.arms) if arm.family == INCUMBENT),
        key=lambda i: abs(np.log(table.arms[i].share * table.losses.shape[1] / _ROWS)),
    )
    alone = table.arms.index(REAL_ALONE)
    differences = table.losses - table.losses[incumbent]
    caution = NormalDist().inv_cdf(1.0 - _LEVEL / len(table.arms))
    best = int(np.argmin(differences.mean(axis=1) + caution * standard_errors(differences)))
    gains = table.losses[best].mean() < table.losses[alone].mean()
    return Choice(best if gains else alone, incumbent)


def standard_errors(values: Float[np.ndarray, "a n"]) -> Float[np.ndarray, " a"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
