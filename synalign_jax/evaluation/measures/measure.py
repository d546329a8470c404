"""One measure of sets of rows, and how it varies: plain values, for which nothing heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A mean over random halves and draws, and their standard deviation."""

    value: float
    spread: float


@dataclass(frozen=True)
class Measure:
    """One measure of the real rows (their other half), of the pool and, with weights, of the weighted pool.

    Attributes:
        name, group: as "MAUVE" of "likeness".
        better: what is good: "as real" (near the yardstick), or "high" or "low".
        says: the measure in a line.
    """

    name: str
    group: str
    better: str
    says: str
    real: Spread
    pool: Spread
    weighted: Spread | None
