"""Vectors that stay on disk: what reads a million of them holds a block at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from synalign_jax.core.spacing import positions


class RowsOnDisk:
    """The rows of a .npy file as float32, read when they are asked for.

    A memory map would do, but that the pages around each row that is looked at count as the process's own.

    Args:
        path: of a (rows, width) array in C order.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.dtype = path, np.dtype(np.float32)
        with path.open("rb") as file:
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
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        with self._path.open("rb") as file:
            for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
                file.seek(self._start + int(rows[begin]) * self.shape[1] * self._on_disk.itemsize)
                file.readinto(found[begin:end].data.cast("B"))
        return found.astype(np.float32, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows on disk become an array only by a copy")
        return np.asarray(self[:], dtype)
