"""Rows and vectors that are added a few at a time and grow to millions: compact, or on disk."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from synalign_jax.pipeline.on_disk import read_rows

_ROWS = 4_096  # rows that are dictionaries before they become an Arrow batch
_VECTORS = 8_192  # vectors that are held together
IN_MEMORY_BYTES = 2**30  # of vectors whose number is known before


def _nameless(owner: object, folder: Path | None) -> IO[bytes]:
    """A file of no name, which is closed, and its room free again, when its owner is gone."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file


class GrowingRows:
    """Rows of one schema, which lie in a nameless file that is gone with them: a million take no memory.

    Raises:
        OSError: the disk of the folder is full.
    """

    def __init__(self, schema: pa.Schema, folder: Path | None = None) -> None:
        """`folder` has room for them; None is where temporary files go."""
        self.schema = schema
        self._file = _nameless(self, folder)
        self._places = [0]  # where each batch begins, and the next one will
        self._last: list[Mapping[str, Any]] = []

    def __len__(self) -> int:
        return _ROWS * (len(self._places) - 1) + len(self._last)

    def append(self, row: Mapping[str, Any]) -> None:
        self._last.append(row)
        if len(self._last) == _ROWS:
            batch = pa.RecordBatch.from_pylist(self._last, self.schema).serialize()
            self._file.write(batch)
            self._file.flush()
            self._places.append(self._places[-1] + batch.size)
            self._last = []

    def value(self, name: str, row: int) -> Any:
        """One value of one row."""
        number, place = divmod(row, _ROWS)
        if number < len(self._places) - 1:
            return self._batch(number)[name][place].as_py()
        return self._last[place][name]

    def column(self, name: str) -> Iterator[Any]:
        """The values of all rows, a batch of them in memory at a time."""
        for batch in self.batches():
            yield from batch[name].to_pylist()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a batch of them in memory at a time."""
        for number in range(len(self._places) - 1):
            yield self._batch(number)
        yield pa.RecordBatch.from_pylist(self._last, self.schema)

    def _batch(self, number: int) -> pa.RecordBatch:
        start, end = self._places[number : number + 2]
        held = pa.py_buffer(os.pread(self._file.fileno(), end - start, start))
        return pa.ipc.read_record_batch(held, self.schema)


class GrowingVectors:
    """(rows, width) float32 that are added to without copying what is there; indexed by positions."""

    def __init__(self, width: int, together: int = _VECTORS) -> None:
        """`together` vectors are held in one block."""
        self._held: list[np.ndarray] = []
        self._rows, self._width, self._together = 0, width, together

    def __len__(self) -> int:
        return self._rows

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows, self._width

    @property
    def blocks(self) -> list[Float[np.ndarray, "some width"]]:
        """The vectors, in the order in which they were added."""
        left = self._rows - self._together * (len(self._held) - 1)
        return [*self._held[:-1], self._held[-1][:left]] if self._held else []

    def extend(self, vectors: Float[np.ndarray, "some width"]) -> None:
        while len(vectors):
            place = self._rows % self._together
            if not place:
                self._held.append(np.empty((self._together, self._width), np.float32))
            some = vectors[: self._together - place]
            self._held[-1][place : place + len(some)] = some
            self._rows += len(some)
            vectors = vectors[len(some) :]

    def __getitem__(self, rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some width"]:
        rows = np.asarray(rows)
        found = np.empty((len(rows), self._width), np.float32)
        blocks = rows // self._together
        for block in np.unique(blocks):
            of_block = blocks == block
            found[of_block] = self._held[block][rows[of_block] % self._together]
        return found


class VectorsOnDisk:
    """`GrowingVectors` in a nameless file that is gone with them: for those of which few are looked at again.

    Raises:
        OSError: the disk of the folder is full.
    """

    def __init__(self, width: int, folder: Path | None = None) -> None:
        """`folder` has room for them; None is where temporary files go."""
        self._file = _nameless(self, folder)
        self._rows, self._width = 0, width

    def __len__(self) -> int:
        return self._rows

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows, self._width

    def extend(self, vectors: Float[np.ndarray, "some width"]) -> None:
        self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        self._file.flush()
        self._rows += len(vectors)

    def __getitem__(self, rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some width"]:
        found = np.empty((len(rows), self._width), np.float32)
        read_rows(self._file.fileno(), 0, np.asarray(rows), found)
        return found


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
