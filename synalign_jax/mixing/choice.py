"""Which candidate is taken: the one whose gain over the plain mixture is surest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .judge import REAL_ALONE, Table

PLAIN = "as generated"
_CAUTION = 0.25
_DOUBT, _MANY_ROWS = 0.5, 200
_PLAIN_ROWS = 200


class Choice(NamedTuple):
    """`arm` is a position in the table; `incumbent` that of the plain mixture."""

    arm: int
    incumbent: int


def choose(table: Table) -> Choice:
    """The arm of least loss, `_CAUTION` standard errors of its difference to the plain mixture's added.

    The plain mixture is the pool as generated, counting for about 200 real rows: on average the best single
    guess: few real rows teach little beside it, and many need little of it. Everything else, the real rows
    alone included, has to beat it by more than noise, as in the one-standard-error rule of Breiman et al.
    ("Classification and Regression Trees", 1984, section 3.4.3), on differences row by row.

    What is found so has to beat the real rows alone, or these are taken: at all where there are few, by half
    a standard error where there are many. Few rows train a student so poor that nearly every pool improves
    on it, and are too few to show it; many need no help that they do not show.
    """
    plain = min(
        (i for i, arm in enumerate(table.arms) if arm.family == PLAIN),
        key=lambda i: abs(np.log(table.arms[i].share * table.losses.shape[1] / _PLAIN_ROWS)),
    )
    alone = table.arms.index(REAL_ALONE)
    differences = table.losses - table.losses[plain]
    best = int(np.argmin(differences.mean(axis=1) + _CAUTION * standard_errors(differences)))
    over = table.losses[[best]] - table.losses[alone]
    doubt = min(_DOUBT, over.shape[1] * _DOUBT / _MANY_ROWS) * standard_errors(over)[0]
    return Choice(best if over.mean() + doubt < 0 else alone, plain)


def standard_errors(values: Float[np.ndarray, "a n"]) -> Float[np.ndarray, " a"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
