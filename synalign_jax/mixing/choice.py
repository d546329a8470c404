"""What every candidate counts for: the mean of them by their evidence, instead of the luckiest one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .families import FAMILIES
from .judge import Arm

_ALONE = 0.05  # the chance of the real rows alone before anything is seen: few pools are worth nothing
_DRAWS = 500


def before(arms: Sequence[Arm], *, alone: bool = True) -> Float[np.ndarray, " a"]:
    """How likely each arm is the best before anything is seen; without `alone` the real rows alone cannot be.

    Families that keep rows whose labels are denied by students of other rows are no contenders. The judge is
    linear; a network learns such labels by heart, and a twentieth of them in the mean costs it two points.
    """
    contend = [family.name for family in FAMILIES if family.labels in ("pool", "both")]
    chance = np.isin([arm.family for arm in arms], contend).astype(float)
    chance *= (1.0 - _ALONE) / chance.sum()
    chance[0] = _ALONE if alone else 0.0
    return chance / chance.sum()


def chances(
    losses: Float[np.ndarray, "a n"],
    before: Float[np.ndarray, " a"],
    rng: np.random.Generator,
    *,
    draws: int = _DRAWS,
) -> Float[np.ndarray, " a"]:
    """How likely each candidate is the best after its losses on the real rows; they sum to 1.

    Pseudo-Bayesian model averaging with the Bayesian bootstrap (Yao, Vehtari, Simpson and Gelman, Bayesian
    Analysis 13, 2018, "pseudo-BMA+"): with the real rows weighed at random, softmax of their total held-out
    log-likelihood, on the mean of the draws. Few rows leave near-equals near-equal, many tell them apart.

    Args:
        losses: held-out cross-entropy of each real row.
        before: the chances before.
        rng: draws the weights of the real rows.
        draws: how many of these.
    """
    n = losses.shape[1]
    weights = rng.standard_exponential((draws, n))
    weights *= n / weights.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        scores = np.log(before) - weights @ losses.T
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (likely / likely.sum(axis=1, keepdims=True)).mean(axis=0)


def standard_errors(values: Float[np.ndarray, "a n"]) -> Float[np.ndarray, " a"]:
    return values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
