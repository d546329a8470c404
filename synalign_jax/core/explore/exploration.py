"""What an exploration chose, and how it ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COMPLETE = "complete"
ROWS_EXHAUSTED = "rows exhausted"
VARIANCE_EXHAUSTED = "variance exhausted"


class Exploration(NamedTuple):
    """What `explore` chose, one entry a round.

    Attributes:
        centers: (rounds,) index of the row picked; no row is picked twice.
        clusters: (rounds, neighbors + 1) the centre and then its nearest rows, nearest first. A row may be
            a neighbour in several rounds.
        variance: (rounds,) posterior variance of the centre when it was picked.
        labels: the label of every round, or None where `explore` was given none.
        status: "complete"; "rows exhausted" when every row had been observed before `rounds` were done;
            "variance exhausted" when the rows left were all copies of observed rows, or so near to them
            that rounding hides the difference. With labels, the first label that fell short decides.
        acquisition: the rule that was used.
        project: the number of principal components that were used, None for the space as given.
        recomputed: variances brought up to date, summed over the rounds: rounds times rows, unless the pool
            was explored lazily.
    """

    centers: np.ndarray
    clusters: np.ndarray
    variance: np.ndarray
    labels: list | None
    status: str
    acquisition: str
    project: int | None
    recomputed: int


def exploration(
    clusters: np.ndarray,
    variance: np.ndarray,
    rounds: int,
    rows_left: bool,
    acquisition: str,
    project: int | None,
    recomputed: int,
) -> Exploration:
    """What was found in one pool; `rows_left` says whether a row is unobserved."""
    status = COMPLETE
    if len(clusters) < rounds:
        status = VARIANCE_EXHAUSTED if rows_left else ROWS_EXHAUSTED
    return Exploration(clusters[:, 0], clusters, variance, None, status, acquisition, project, recomputed)
