"""Differences between arms over the same draws and the same test rows, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .cells import bits

Cell = tuple[str, str, str, int, str]
"""part, task, pool, few-shot size, student."""


class Difference(NamedTuple):
    """A mean accuracy less another, in points, and its z value over draws of real rows and of test rows."""

    points: float
    z: float
    seeds: int

    @property
    def worse(self) -> bool:
        return self.z < -1.96

    @property
    def better(self) -> bool:
        return self.z > 1.96


class Results:
    """Records by cell, arm and seed."""

    def __init__(self, records: Iterable[dict[str, Any]]) -> None:
        self.by: dict[Cell, dict[str, dict[int, dict[str, Any]]]] = {}
        for row in records:
            cell = (row["part"], row["task"], row["pool"], row["size"], row["student"])
            self.by.setdefault(cell, {}).setdefault(row["arm"], {})[row["seed"]] = row

    def cells(self, part: str, *arms: str, size: int | None = None, student: str | None = None) -> list[Cell]:
        """Cells of a part in which all the arms have a seed in common."""
        return [
            cell
            for cell in sorted(self.by)
            if cell[0] == part
            and size in (None, cell[3])
            and student in (None, cell[4])
            and self.seeds(cell, *arms)
        ]

    def seeds(self, cell: Cell, *arms: str) -> list[int]:
        found = self.by.get(cell, {})
        return sorted(set.intersection(*(set(found.get(arm, {})) for arm in arms)))

    def accuracy(self, cell: Cell, arm: str, seeds: list[int] | None = None) -> float:
        rows = self.by[cell][arm]
        return float(np.mean([rows[s]["accuracy"] for s in (sorted(rows) if seeds is None else seeds)]))

    def difference(self, cell: Cell, arm: str, other: str) -> Difference:
        """`arm` less `other` on the seeds that both have.

        The variance is that of the mean over draws plus that of the mean over test rows, as if both were
        drawn anew; with one seed it is that of the test rows alone.
        """
        seeds = self.seeds(cell, arm, other)
        rows = [bits(self.by[cell][arm][s]) - 1.0 * bits(self.by[cell][other][s]) for s in seeds]
        return summarised(np.array(rows))


def summarised(rows: np.ndarray) -> Difference:
    """(seeds, test rows) of differences of hits."""
    of_seed, of_row = rows.mean(axis=1), rows.mean(axis=0)
    variance = of_row.var(ddof=1) / len(of_row)
    if len(of_seed) > 1:
        variance += of_seed.var(ddof=1) / len(of_seed)
    value = float(rows.mean())
    return Difference(100 * value, value / np.sqrt(variance) if variance > 0 else 0.0, len(of_seed))
