"""What every reader of a text format gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RowList:
    """The rows of one file.

    Attributes:
        rows: column to value, one dictionary a row.
        places: where each row is: the number of its line or item.
        place: what those numbers count, as "line".
        names: all columns, in the order in which they came up.
        repeated: names that the header has more than once, which cannot be asked for.
        unnamed: columns that the header has no name for.
        said: what the user should know of how the file was read.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    place: str = "line"
    names: dict[str, None] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    unnamed: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def add(self, place: int, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.places.append(place)

    def where(self, number: int) -> str:
        return f"{self.place} {self.places[number]}"


Tell = Callable[[int], None]
REPORT_EVERY = 10_000
