"""A table of texts, labels and embeddings, and the rows of the files that they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from synalign_jax.pipeline.on_disk import SomeRows

from .columns import Nature, Template, nature_of
from .errors import DataError
from .others import Others
from .shared import TextsOnDisk
from .values import WORDS_FOR_NOTHING, bare

# What writers leave in texts, by a sign of each that hardly stands in others.
_ODD = {
    re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,5}|#x[0-9a-fA-F]{2,4});"): "HTML entities, as &amp;",
    re.compile("\u00c3[\u0080-\u00bf]|\u00e2\u20ac[\u2122\u0153\u201c\u201d\u0153\u02dc\u00a6]|\u00c2\u00a0"):
        "letters that were decoded wrongly, as \u00c3\u00a9 for \u00e9",
    re.compile("\ufffd"): "signs that stand for lost letters (U+FFFD)",
}  # fmt: skip
_NAMED = 3  # rows that one remark names


@dataclass(frozen=True)
class Table:
    """Rows of one or more files. Each column is None when the files do not have it.

    Attributes:
        texts: one string a row.
        labels: one string a row; several labels of a row are joined by `values.SEPARATOR`.
        embeddings: (rows, width) floating array, or None; memory-mapped when it comes from a `.npy` file
            or was put on disk, and read by slices or positions where several processes have read the files.
        label_sets: the labels of every row, where a row may have several.
        others: the columns that are none of these.
        rows: positions of these rows in the files; None when they are all of them.
        in_files: how many rows the files have.
        files: their names.
        columns: what each of "text", "label" and "embedding" was read from.
        said: what the user should know of how the rows were read.
        whole_labels: whether the labels are whole numbers in the file and not text.
        class_names: what the numbers 0, 1, ... in the file stand for, where it says so.
        chats: columns of the text that hold conversations, a turn a line, and who speaks there.
    """

    texts: Sequence[str] | None
    labels: list[str] | None
    embeddings: Any
    label_sets: list[tuple[str, ...]] | None = None
    others: Others = field(default_factory=lambda: Others([]))
    rows: np.ndarray | None = None
    in_files: int = 0
    files: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    whole_labels: bool = False
    class_names: tuple[str, ...] = ()
    chats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        for column in (self.texts, self.labels, self.embeddings):
            if column is not None:
                return len(column)
        return 0

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(rows of the files,) values of these rows, and 0 for those that were left out."""
        if self.rows is None:
            return values
        result = np.zeros(self.in_files, values.dtype)
        result[self.rows] = values
        return result

    @property
    def template(self) -> str:
        """What makes the texts of columns; empty where a text is one column, and no conversation."""
        source = self.columns.get("text", "")
        if source in self.chats:
            return f"{{{source}}}"
        return source if Template(source).fields and source not in self.others.names else ""

    @property
    def nature(self) -> Nature:
        """What the rows are called."""
        return nature_of(Template(self.template).fields, self.chats)

    def fields(self) -> list[dict[str, str]] | None:
        """The columns that each text is made of; None where it is one column, and no conversation."""
        if not self.template:
            return None
        template = Template(self.template)
        if self.columns["text"] in self.chats:
            return [{self.columns["text"]: text} for text in self.texts or []]
        rows = self.others.take(range(len(self)))
        return [template.values(row, f"row {number}") for number, row in enumerate(rows)]

    def position(self, row: int) -> int:
        """Where a row stands in the files."""
        return row if self.rows is None else int(self.rows[row])


def without_blank(name: str, table: Table) -> Table:
    """Without the rows whose text is blank; says so, and of texts that look like a missing value's name."""
    if table.texts is None:
        return table
    said = list(table.said)
    nothing = Counter(text for text in table.texts if text.strip().casefold() in WORDS_FOR_NOTHING)
    if nothing:
        word, count = nothing.most_common(1)[0]
        said.append(f"{name}: {count:,} texts are {word!r}, which looks like a missing value")
    for looks, what in _ODD.items():
        if count := sum(1 for text in table.texts if looks.search(text)):
            said.append(f"{name}: texts with {what}: {count:,}")
    full = np.fromiter((bool(bare(text)) for text in table.texts), bool, len(table.texts))
    if full.all():
        return replace(table, said=tuple(said))
    rows = np.flatnonzero(full)
    if not rows.size:
        raise DataError(f"{name}: all {len(full):,} texts are blank")
    blank = ", ".join(str(row) for row in np.flatnonzero(~full)[:_NAMED])
    said.append(
        f"{name}: {len(full) - len(rows):,} of {len(full):,} rows have a blank text and are left out"
        f" (counted from 0, the first are rows {blank})"
    )
    return replace(choose_rows(table, rows), said=tuple(said))


def choose_rows(table: Table, rows: np.ndarray) -> Table:
    """The table of chosen rows, which know where in the files they stand."""

    def of(column: Any) -> Any:
        if isinstance(column, TextsOnDisk):
            return column.of(rows)
        return None if column is None else [column[row] for row in rows.tolist()]

    vectors = table.embeddings
    if vectors is not None:
        vectors = vectors[rows] if isinstance(vectors, np.ndarray) else SomeRows(vectors, rows)
    return replace(
        table,
        texts=of(table.texts),
        labels=of(table.labels),
        label_sets=of(table.label_sets),
        embeddings=vectors,
        others=table.others.of(rows),
        rows=rows if table.rows is None else table.rows[rows],
    )
