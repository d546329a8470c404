"""The columns of a table that are neither text nor label nor vector: they travel with their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from .formats.arrow import ArrowFile


class Part(Protocol):
    """The other columns of one file."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def rows(self) -> int: ...

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]: ...


class HeldRows:
    """Those of a text file, held in memory."""

    def __init__(self, names: Sequence[str], rows: list[dict[str, Any]]) -> None:
        self.names, self._rows = names, rows
        self.rows = len(rows)

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]:
        return [self._rows[row] for row in rows.tolist()]


class LazyRows:
    """Those of a Parquet or Arrow file, read again when they are asked for."""

    def __init__(self, file: ArrowFile, names: Sequence[str]) -> None:
        self._file, self._names = file, names
        self._keys = dict(file.file.columns)
        self.names, self.rows = [*names, *self._keys], file.rows

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]:
        if not self._names or not len(rows):
            return [dict(self._keys) for _ in rows]
        order = np.unique(rows)
        found: dict[int, dict[str, Any]] = {}
        start = 0
        for batch in self._file.batches(self._names):
            inside = order[(order >= start) & (order < start + batch.num_rows)]
            if len(inside):
                taken = batch.take(inside - start).to_pylist()
                found |= zip(inside.tolist(), taken, strict=True)
            start += batch.num_rows
        return [{**found[row], **self._keys} for row in rows.tolist()]


class Others:
    """The other columns of a table of one or more files; `rows` maps its rows to those of the files."""

    def __init__(self, parts: Sequence[Part], rows: np.ndarray | None = None) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(part.rows for part in self._parts)])
        self._rows = rows
        self.names = tuple(dict.fromkeys(name for part in self._parts for name in part.names))

    def of(self, rows: np.ndarray) -> Others:
        """Those of chosen rows."""
        return Others(self._parts, rows if self._rows is None else self._rows[rows])

    def take(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """One dictionary a row; a key that a row did not have is not in it."""
        wanted = np.asarray(list(rows), np.int64)
        if self._rows is not None:
            wanted = self._rows[wanted]
        result: list[dict[str, Any]] = [{} for _ in wanted]
        for part, start in zip(self._parts, self._starts, strict=False):
            places = np.flatnonzero((wanted >= start) & (wanted < start + part.rows))
            for place, row in zip(places.tolist(), part.take(wanted[places] - start), strict=True):
                result[place] = row
        return result
