"""Some rows of many, without chance: what stands for a set where looking at all of it would cost too much."""

from __future__ import annotations

import numpy as np


def evenly_spaced(rows: int, most: int) -> np.ndarray:
    """(k,) positions from the first of `rows` rows to the last, at most `most`, in even steps."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))
