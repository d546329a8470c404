"""Vectors read from a file that cannot be mapped into memory: kept there, or on disk if they are many."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

IN_MEMORY_BYTES = 2**30


class Spill:
    """Takes (rows, width) float32 block by block.

    More than IN_MEMORY_BYTES go to a nameless file in `scratch`, whose space is free again when the array
    returned by `finish` is gone, or the process. None: everything stays in memory.
    """

    def __init__(self, rows: int, width: int, scratch: Path | None) -> None:
        self.width = width
        self._shape, self._done = (rows, width), 0
        if scratch is None or 4 * rows * width <= IN_MEMORY_BYTES:
            self._file, self._array = None, np.empty(self._shape, np.float32)
        else:
            self._file, self._array = tempfile.TemporaryFile(dir=scratch), None  # noqa: SIM115 - `finish` closes it

    def append(self, block: np.ndarray) -> None:
        """
        Raises:
            OSError: the disk is full.
        """
        if self._array is not None:
            self._array[self._done : self._done + len(block)] = block
        elif self._file is not None:
            self._file.write(np.ascontiguousarray(block, np.float32).data)
        self._done += len(block)

    def finish(self) -> np.ndarray:
        """The rows; a memory map where they are on disk."""
        if self._array is not None:
            return self._array
        assert self._file is not None
        with self._file as file:
            file.flush()
            return np.memmap(file, np.float32, "r", shape=self._shape)
