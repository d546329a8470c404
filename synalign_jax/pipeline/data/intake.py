"""What went into a piece of work: files, columns, labels, rows; for the terminal and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .table import Table

_LABELS = 12  # labels that are counted one by one
_FILES = 3


@dataclass(frozen=True)
class Intake:
    """One side's rows.

    Attributes:
        role: "real rows" or "synthetic rows".
        files: a name, or the first of many and their number.
        rows: those used, of `in_files` in the files.
        columns: what "text", "label" and "embedding" were read from; what is not there is missing.
        labels: rows of each; empty for unlabelled rows.
        vectors: where the vectors are from.
        remarks: what the reader should know.
    """

    role: str
    files: str
    rows: int
    in_files: int
    columns: Mapping[str, str]
    labels: Mapping[str, int]
    vectors: str = ""
    remarks: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        used = f" of {self.in_files:,} in the files" if self.rows != self.in_files else ""
        columns = ", ".join(f"{part} from {value!r}" for part, value in self.columns.items())
        lines = [f"{self.role}: {self.rows:,}{used}, {self.files}; {columns}"]
        lines.append(f"  labels: {self.counted()}")
        if self.vectors:
            lines.append(f"  vectors: {self.vectors}")
        return lines + [f"  note: {remark}" for remark in self.remarks]

    def counted(self) -> str:
        """Rows per label in one line."""
        if not self.labels:
            return "none"
        most = sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))
        more = f" and {len(most) - _LABELS:,} labels more" if len(most) > _LABELS else ""
        return ", ".join(f"{label} {count:,}" for label, count in most[:_LABELS]) + more

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def named(files: Sequence[str]) -> str:
    """The first files by name, and how many more there are."""
    more = f" and {len(files) - _FILES:,} more" if len(files) > _FILES else ""
    return ", ".join(files[:_FILES]) + more


def intake_of(role: str, table: Table, *, vectors: str = "", remarks: tuple[str, ...] = ()) -> Intake:
    files = named(table.files)
    if table.label_sets is not None:
        labels = Counter(label for labels in table.label_sets for label in labels)
    else:
        labels = Counter(table.labels or [])
    return Intake(
        role, files, len(table), table.in_files, table.columns, dict(labels), vectors, table.said + remarks
    )
