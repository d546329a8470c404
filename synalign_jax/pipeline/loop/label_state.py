"""How far the rows of one label are."""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Any

_DRY_WAVES = 3  # waves in a row without a new row, after which a label is given up


@dataclass
class LabelState:
    """How far the rows of one label are. Positions count among the label's real rows."""

    label: str
    wanted: int
    most_calls: int
    clusters: list[dict[str, Any]]
    calls: int = 0
    answered: int = 0
    brought: int = 0
    dry: int = 0
    rows: array[int] = field(default_factory=lambda: array("q"))  # positions among all rows kept
    attributes: list[str] = field(default_factory=list)  # of each of them, as JSON
    looked_at: deque[list[int]] = field(default_factory=lambda: deque([[], []], maxlen=2))

    @property
    def missing(self) -> int:
        return self.wanted - len(self.rows)

    @property
    def given_up(self) -> bool:
        return self.dry >= _DRY_WAVES

    def calls_for(self, target: int, rows_per_call: int) -> int:
        """Calls still to make to reach `target` rows, at the yield seen so far, with those in flight."""
        if self.given_up:
            return 0
        rows_a_call = max(self.brought / self.answered, 0.5) if self.answered else float(rows_per_call)
        missing = target - len(self.rows) - (self.calls - self.answered) * rows_a_call
        return min(max(math.ceil(missing / rows_a_call), 0), self.most_calls - self.calls)
