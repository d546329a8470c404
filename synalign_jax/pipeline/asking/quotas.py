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
    result = low.copy()
    weight = np.array([shares[name] for name in names], dtype=np.float64)
    ideal = total * weight / weight.sum()
    # One row at a time to the label furthest below its share: exact for any mix of floors and caps.
    for _ in range(min(total, int(cap.sum())) - int(result.sum())):
        behind = np.where(result < cap, ideal - result, -np.inf)
        result[int(np.argmax(behind))] += 1
    return dict(zip(names, result.tolist(), strict=True))
