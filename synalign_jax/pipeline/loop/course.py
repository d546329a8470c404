"""How a run's distance falls with its rows, what another wave would bring, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_FEWEST_WAVES = 3  # below it a curve cannot be told from chance

IN_BAND = "the held-out distance is inside the noise band of the real rows"
NO_GAIN = "another wave is expected to gain less than [loop] min_gain"
NO_LOSS_GAIN = "another wave is expected to gain a student less than [loop] min_loss_gain"
BUDGET = "the budget is used up"
DRY = "the last waves brought no new row"
ALL_ROWS = "all rows that were asked for are there"
ALL_CALLS = "the calls that [generate] calls_factor allows are used up"


@dataclass(frozen=True)
class Point:
    """One wave: what was there when its answers were in. A run keeps one a wave in `loop.json`.

    Attributes:
        wave: its number, from 1.
        rows: new rows kept until then.
        calls: requests for rows that were answered until then.
        tokens: of these requests and of those to a judge, prompts and answers together.
        cost: money for these tokens; None without prices.
        distance: cross-validated MMD^2 of the weighted rows to the law of the real ones; None while unknown.
        plain: the same for equal weights.
        band: the noise band: expected MMD^2 between that law and a sample of as many real rows.
        gain: the share of `distance` that another wave is expected to take away; None while unknown.
        loss: cross-entropy at real rows of a student that has seen neither them nor weights learnt from them,
            trained on the other real rows and the weighted new ones; None while unknown or without labels.
        loss_alone: the same of a student of the real rows alone.
        loss_gain: the share of `loss` that another wave is expected to take away; None while unknown.
    """

    wave: int
    rows: int
    calls: int
    tokens: int
    cost: float | None
    distance: float | None
    plain: float | None
    band: float | None
    gain: float | None = None
    loss: float | None = None
    loss_alone: float | None = None
    loss_gain: float | None = None


def expected_gain(rows: Sequence[int], distances: Sequence[float], more: int) -> float | None:
    """The share of the present distance that `more` rows are expected to take away; None while unknown.

    The distance of m independent rows to a law is a + b / m: what the rows' own law lacks, and what chance
    adds (Gretton et al., JMLR 2012, section 3). Both are fitted to the waves so far, neither below 0.
    """
    if len(rows) < _FEWEST_WAVES or rows[0] <= 0 or rows[-1] <= 0:
        return None
    inverse, d = 1.0 / np.asarray(rows, np.float64), np.asarray(distances, np.float64)
    if not np.isfinite(d).all() or d[-1] <= 0 or np.ptp(inverse) == 0:
        return None
    # Later waves are measured on more rows.
    weight = np.asarray(rows, np.float64)
    mean_x, mean_d = np.average(inverse, weights=weight), np.average(d, weights=weight)
    b = np.sum(weight * (inverse - mean_x) * (d - mean_d)) / np.sum(weight * (inverse - mean_x) ** 2)
    if mean_d - b * mean_x < 0:  # the line through the origin is the nearest
        b = np.sum(weight * inverse * d) / np.sum(weight * inverse**2)
    b = max(float(b), 0.0)
    return float(np.clip(b * (inverse[-1] - 1.0 / (rows[-1] + more)) / d[-1], 0.0, 1.0))


def ahead(points: Sequence[Point], more: int, real: int) -> Point:
    """The last of `points` with what a wave of `more` rows is expected to bring beside `real` real rows.

    A student's loss falls with the rows it is trained on as a distance does, the real ones among them; the
    students of the real rows alone are the curve's first point.
    """
    last = points[-1]
    near = [(p.rows, p.distance) for p in points if p.distance is not None]
    curve = [(real + p.rows, p.loss) for p in points if p.loss is not None]
    if last.loss_alone is not None:
        curve = [(real, last.loss_alone), *curve]
    return replace(
        last,
        gain=expected_gain(*_columns(near), more),
        loss_gain=expected_gain(*_columns(curve), more),
    )


def _columns(curve: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [rows for rows, _ in curve], [value for _, value in curve]


def reason_to_stop(
    points: Sequence[Point], *, in_band: bool, min_gain: float, min_loss_gain: float = 0.0
) -> str | None:
    """Why generation is over before all rows are there, or None."""
    last = points[-1]
    if in_band and last.distance is not None and last.band is not None and last.distance <= last.band:
        return IN_BAND
    if min_gain > 0 and last.gain is not None and last.gain < min_gain:
        return NO_GAIN
    if min_loss_gain > 0 and last.loss_gain is not None and last.loss_gain < min_loss_gain:
        return NO_LOSS_GAIN
    return None
