"""Rows and vectors that are added a few at a time and grow to millions: compact, and read as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

_ROWS = 4_096  # rows that are dictionaries before they become an Arrow batch
_VECTORS = 8_192  # vectors that are held together


class GrowingRows:
    """Rows of one schema: an Arrow batch takes a quarter of what the same dictionaries take."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._last: list[Mapping[str, Any]] = []

    def __len__(self) -> int:
        return _ROWS * len(self._batches) + len(self._last)

    def append(self, row: Mapping[str, Any]) -> None:
        self._last.append(row)
        if len(self._last) == _ROWS:
            self._batches.append(pa.RecordBatch.from_pylist(self._last, self._schema))
            self._last = []

    def value(self, name: str, row: int) -> Any:
        """One value of one row."""
        batch, place = divmod(row, _ROWS)
        if batch < len(self._batches):
            return self._batches[batch][name][place].as_py()
        return self._last[place][name]

    def column(self, name: str) -> Iterator[Any]:
        """The values of all rows, a batch of them in memory at a time."""
        for batch in self._batches:
            yield from batch[name].to_pylist()
        yield from (row[name] for row in self._last)

    def table(self) -> pa.Table:
        """All rows; those that are batches are not copied."""
        last = pa.RecordBatch.from_pylist(self._last, self._schema)
        return pa.Table.from_batches([*self._batches, last], self._schema)


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
