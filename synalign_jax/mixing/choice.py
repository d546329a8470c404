"""Which candidate is taken: the one whose gain over a good first guess is surest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .judge import REAL_ALONE, Table

INCUMBENT = "agreed with the real rows"
_ROWS = 1_500
_CAUTION = 2.0
_DOUBT, _MANY_ROWS = 0.5, 200


class Choice(NamedTuple):
    """`arm` is a position in the table; `incumbent` that of the good first guess."""

    arm: int
    incumbent: int


def choose(table: Table) -> Choice:
    """The arm of least loss, `_CAUTION` standard errors of its difference to the incumbent's added.

    The incumbent is the pool without the rows that students of the real rows and its other rows label
    otherwise, counting together for about 1,500: on average the best single guess. Everything else has to
    beat it by more than noise, as in the one-standard-error rule of Breiman et al. ("Classification and
    Regression Trees", 1984, section 3.4.3), on differences row by row; by two, for the best of many is lucky.

    What is found so has to beat the real rows alone, or these are taken: at all where there are few, by half
    a standard error where there are many. Few rows train a student so poor that nearly every pool improves
    on it, and are too few to show it; many need no help that they do not show.
    """
    incumbent = min(
        (i for i, arm in enumerate(table.arms) if arm.family == INCUMBENT),
        key=lambda i: abs(np.log(table.arms[i].share * table.losses.shape[1] / _ROWS)),
    )
    alone = table.arms.index(REAL_ALONE)
    differences = table.losses - table.losses[incumbent]
    best = int(np.argmin(differences.mean(axis=1) + _CAUTION * standard_errors(differences)))
    over = table.losses[[best]] - table.losses[alone]
    doubt = min(_DOUBT, over.shape[1] * _DOUBT / _MANY_ROWS) * standard_errors(over)[0]
    return Choice(best if over.mean() + doubt < 0 else alone, incumbent)


def standard_errors(values: Float[np.ndarray, "a n"]) -> Float[np.ndarray, " a"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
