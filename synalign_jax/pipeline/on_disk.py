"""Vectors that stay on disk: what reads a million of them holds a block at a time."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from synalign_jax.core.spacing import positions

_TOGETHER = 8_192  # rows that are read together
_SPREAD = 4  # rows read for one that is wanted, at most


def read_rows(file: int, start: int, rows: np.ndarray, found: np.ndarray) -> None:
    """Fill `found` with the rows at some positions of an open file, which begin at byte `start` there.

    Rows that lie near to each other are read with those between them: a call for each would take longer.
    """
    for first in range(0, len(rows), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        some = rows[part]
        low, high = int(some.min()), int(some.max()) + 1
        if high - low == len(some) or high - low > _SPREAD * len(some):
            _read_runs(file, start, some, found[part])
        else:
            between = np.empty((high - low, *found.shape[1:]), found.dtype)
            _read_runs(file, start, np.arange(low, high), between)
            found[part] = between[some - low]


def _read_runs(file: int, start: int, rows: np.ndarray, found: np.ndarray) -> None:
    size = found[0].nbytes
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(rows)], strict=True):
        place, left = start + int(rows[begin]) * size, found[begin:end].data.cast("B")
        while len(left):  # one call reads 2 GiB at most
            done = os.preadv(file, [left], place)
            if not done:
                raise OSError(f"rows on disk: the file ends before row {int(rows[end - 1])}")
            place, left = place + done, left[done:]


class RowsOnDisk:
    """The rows of a .npy file as float32, read when they are asked for.

    A memory map would do, but that the pages around each row that is looked at count as the process's own.

    Args:
        path: of a (rows, width) array in C order.
    """

    def __init__(self, path: Path) -> None:
        self.dtype = np.dtype(np.float32)
        self._file = file = path.open("rb")
        weakref.finalize(self, file.close)
        np.lib.format.read_magic(file)  # 1.0, as `numpy.save` writes it for arrays
        self.shape, _, self._on_disk = np.lib.format.read_array_header_1_0(file)
        self._start = file.tell()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """(some, width) the rows at a slice or at positions from 0."""
        rows = positions(rows, len(self))
        found = np.empty((len(rows), self.shape[1]), self._on_disk)
        if not len(rows):
            return found.astype(np.float32)
        read_rows(self._file.fileno(), self._start, rows, found)
        return found.astype(np.float32, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows on disk become an array only by a copy")
        return np.asarray(self[:], dtype)


class SomeRows:
    """The rows at some positions of an array, read when they are asked for.

    Args:
        rows: (rows, width) an array, or what reads such rows by positions.
        chosen: (some,) positions in it.
    """

    def __init__(self, rows: Any, chosen: np.ndarray) -> None:
        self._rows, self._chosen = rows, chosen
        self.shape, self.dtype = (len(chosen), rows.shape[1]), rows.dtype

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """(some, width) the rows at a slice or at positions from 0."""
        return self._rows[self._chosen[rows]]
