"""Which candidate is taken: the one whose gain over the plain mixture is surest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .judge import REAL_ALONE, Table

PLAIN = "as generated"
_CAUTION = 0.5


class Choice(NamedTuple):
    """`arm` is a position in the table; `incumbent` that of the plain mixture."""

    arm: int
    incumbent: int


def choose(table: Table) -> Choice:
    """The arm of least loss, `_CAUTION` standard errors of its difference to the plain mixture's added.

    The plain mixture is the pool as generated at the share nearest to one real set: what a reader would try
    first, and on average the best single guess where few real rows can tell nothing. Everything else, the
    real rows alone included, has to beat it by more than noise, as in the one-standard-error rule of Breiman
    et al. ("Classification and Regression Trees", 1984, section 3.4.3), on differences row by row. What is
    found so has to beat the real rows alone, or these are taken.
    """
    plain = min(
        (i for i, arm in enumerate(table.arms) if arm.family == PLAIN),
        key=lambda i: abs(np.log(table.arms[i].share)),
    )
    differences = table.losses - table.losses[plain]
    best = int(np.argmin(differences.mean(axis=1) + _CAUTION * standard_errors(differences)))
    alone = table.arms.index(REAL_ALONE)
    return Choice(best if table.losses[best].mean() < table.losses[alone].mean() else alone, plain)


def standard_errors(values: Float[np.ndarray, "a n"]) -> Float[np.ndarray, " a"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
