"""Sharing a number of rows among labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def quotas(
    shares: Mapping[str, float], total: int, *, floor: int = 0, caps: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Whole numbers that sum to `total`, in proportion to `shares` (largest remainders).

    Every label gets at least `floor` and at most its cap, as far as the caps and the total allow; what the
    caps hold back goes to the other labels. The sum falls short only when the caps do.
    """
    names = sorted(shares)
    cap = np.array([caps[name] if caps is not None else total for name in names], dtype=np.int64)
    low = np.minimum(cap, floor)
    if low.sum() > total:
        low = np.zeros_like(low)
    weight = np.array([shares[name] for name in names], dtype=np.float64)
    ideal = total * weight / weight.sum()
    result = _nearly(low, cap, ideal, total)
    # One row at a time to the label furthest below its share: exact for any mix of floors and caps.
    for _ in range(min(total, int(cap.sum())) - int(result.sum())):
        behind = np.where(result < cap, ideal - result, -np.inf)
        result[int(np.argmax(behind))] += 1
    return dict(zip(names, result.tolist(), strict=True))


def _nearly(low: np.ndarray, cap: np.ndarray, ideal: np.ndarray, total: int) -> np.ndarray:
    """What the labels have, a few rows before the last: one row at a time would be slow for a million.

    Rows go to whoever is further below its share than a level. The lowest level that does not take too many
    is found by bisection, and one row a label is left to be given exactly.
    """

    def filled(level: float) -> np.ndarray:
        return np.clip(np.ceil(ideal - level).astype(np.int64), low, cap)

    most = min(total, int(cap.sum()))
    deep, high = float((ideal - cap).min()) - 1.0, float((ideal - low).max()) + 1.0
    while high - deep > 0.25:
        level = (deep + high) / 2.0
        deep, high = (deep, level) if filled(level).sum() <= most else (level, high)
    return filled(high + 1.0)
