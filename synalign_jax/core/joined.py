"""Rows of several arrays as one, without a copy of them: a pool of a million beside the real rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from synalign_jax.core.spacing import positions


class JoinedRows:
    """Arrays of one width, one below the other; read by slices or by positions.

    Args:
        parts: (rows, width) arrays, or what reads such rows by positions.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), parts[0].shape[1])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """(some, width) a copy of the rows at a slice or at positions from 0."""
        rows = positions(rows, len(self))
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        of_part = np.searchsorted(self._starts, rows, side="right") - 1
        for number, part in enumerate(self._parts):
            here = of_part == number
            found[here] = part[rows[here] - self._starts[number]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of several arrays become one only by a copy")
        return np.asarray(self[:], dtype)
