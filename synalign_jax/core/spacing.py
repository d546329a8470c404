"""Which rows of many: evenly spaced ones, that stand for all, and those that a slice names."""

from __future__ import annotations

from typing import Any

import numpy as np


def evenly_spaced(rows: int, most: int) -> np.ndarray:
    """(k,) positions from the first of `rows` rows to the last, at most `most`, in even steps."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))


def positions(rows: Any, count: int) -> np.ndarray:
    """(k,) positions, from 0, that a slice takes of `count` rows; positions are left as they are."""
    if not isinstance(rows, slice):
        return np.asarray(rows)
    start, stop, step = rows.indices(count)
    # A step beyond the rows, which may be no int64, takes one row as `count` + 1 does.
    return np.arange(start, stop, max(-count - 1, min(step, count + 1)))
