"""Tables of texts, labels and embeddings from files, read strictly: a bad row is named, never lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .columns import Columns, Found, cell, find_columns
from .errors import DataError, listed
from .formats.arrow import ArrowFile, short_numbers
from .formats.delimited import read_delimited
from .formats.json_rows import read_json
from .formats.rows import RowList
from .formats.vectors import arrow_vectors, read_npy, stack, vector_of
from .growing import Spill
from .labels import class_named, cut_labels, said_of_classes, settle_labels
from .others import HeldRows, LazyRows, Others, Part
from .shards import SourceFile, find_files
from .shared import Peers, Read, own_files
from .table import Table, without_blank
from .values import SEPARATOR, label_of

LOOKED_AT = 1_000  # rows of a file in which conversations are looked for, and who speaks in them


def read_table(
    path: str | Path,
    *,
    text: str = "text",
    label: str | None = "label",
    embedding: str | None = "embedding",
    required: Sequence[str] = (),
    multi_label: bool = False,
    encoding: str | None = None,
    keep_blank: bool = False,
    progress: Callable[[int], None] | None = None,
    scratch: Path | None = None,
    peers: Peers | None = None,
) -> Table:
    """Read a file, a folder of shards, a pattern, or a URL of fsspec's.

    The formats are JSONL and JSON, CSV and TSV (semicolons, bars and tabs are found out), Parquet, Arrow and
    `.npy`; text formats may be packed (.gz, .zst, .bz2, .xz).

    Args:
        path: what to read; the suffix tells the format.
        text: a column, or a template over several such as "{question}\\n{answer}".
        label, embedding: names of the columns. A column that the file lacks is None in the result.
        required: those of the three names that must be there.
        multi_label: a row may have several labels, or none.
        encoding: of text files; None finds it by the byte order mark, or takes UTF-8.
        keep_blank: rows with a blank text stay, instead of being counted and left out.
        progress: called with the number of rows read so far.
        scratch: a folder with room for embeddings of more than 1 GiB, which are not held in memory then; the
            space is free again when they are no longer used.
        peers: processes that read the same at the same time and see `scratch`: of Parquet and Arrow files
            each reads its own, and what it has read lies on disk for all of them.

    Raises:
        DataError: an unknown format, no file, no rows, a required column missing, none of the columns there,
            a missing or ill-typed value (its row is named), text that is not in its encoding, a file that
            ends mid-row, half of a surrogate pair.
    """
    named = {
        part
        for part, name in (("text", text), ("label", label), ("embedding", embedding))
        if name in required
    }
    given = Columns(text, label, embedding, frozenset(named), multi_label, encoding)
    files = find_files(str(path))
    reading = _Reading(given, files, scratch, progress)
    own = own_files(files, peers)
    if own is None or peers is None or scratch is None:
        for file in files:
            reading.read(file)
    else:
        reading.read_among(peers, own, scratch)
    table = reading.table(str(path))
    return table if keep_blank else without_blank(str(path), table)


class _Reading:
    """Takes file after file, and gives the table of them all."""

    def __init__(
        self,
        given: Columns,
        files: list[SourceFile],
        scratch: Path | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._given, self._files, self._scratch, self._progress = given, files, scratch, progress
        self._found: Found | None = None
        self._texts: Any = []  # of str; appended to while files are read
        self._labels: list[str] = []
        self._sets: list[tuple[str, ...] | str] = []
        self._whole_labels = True
        self._blocks: list[Any] = []
        self._spill: Spill | None = None
        self._parts: list[Part] = []
        self._said: list[str] = []
        self._done = 0
        self._class_names: list[str] = []
        self._chats: dict[str, dict[str, None]] = {}
        self._arrow = [ArrowFile(f) for f in files if f.suffix in (".parquet", ".arrow", ".feather")]
        self._to_read = sum(file.rows for file in self._arrow)

    def read(self, file: SourceFile) -> None:
        if file.suffix == ".npy":
            if self._given.named:
                raise DataError(
                    f"{file.name}: has no columns, so --{min(self._given.named)} cannot be named there"
                )
            block = read_npy(file, self._scratch)
            self._take_vectors(file, block)
            self._done += len(block)
        elif self._arrow:
            self._read_arrow(self._arrow[self._files.index(file)])
        else:
            read = read_delimited if file.suffix in (".csv", ".tsv") else read_json
            self._read_rows(file, read(file, self._given.wanted, self._given.encoding, self._tell))
        if self._progress:
            self._progress(self._done)

    def read_among(self, peers: Peers, own: range, scratch: Path) -> None:
        """Read the files numbered `own`, and take from the peers what they have read of the others."""
        self._to_read = sum(self._arrow[number].rows for number in own)
        try:
            for number, source in enumerate(self._arrow):
                self._read_arrow(source, own=number in own)
            fault = None
        except DataError as error:
            fault = str(error)
        if faults := [str(one) for one in peers.told(fault) if one is not None]:
            raise DataError(faults[0])
        vectors = None if self._spill is None else self._spill.finish()
        marks = self._sets if self._given.multi_label else self._labels
        every = Read(self._texts, marks, self._whole_labels, self._chats, vectors).of_all(
            peers, scratch, self._files[own.start].name
        )
        self._texts, self._whole_labels, self._chats = every.texts, every.whole_labels, every.chats
        self._sets, self._labels = (every.marks, []) if self._given.multi_label else ([], every.marks)
        self._spill, self._blocks = None, [] if every.vectors is None else [every.vectors]
        if self._progress:
            self._progress(self._done)

    def table(self, name: str) -> Table:
        if not self._done:
            raise DataError(f"{name}: the file has no rows")
        found = self._found
        vectors = None
        if self._spill is not None:
            vectors = self._spill.finish()
        elif self._blocks:
            vectors = self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks)
        has_label = found is not None and found.label is not None
        labels: list[str] | None = self._labels if has_label else None
        sets = None
        if found is not None and has_label and self._given.multi_label:
            sets, said = cut_labels(name, self._sets, found.marks)
            self._said += said
            labels = [SEPARATOR.join(labels) for labels in sets]
        elif labels is not None:
            labels, said = settle_labels(name, labels)
            self._said += said
        columns = {}
        if found is not None:
            text = found.template.source if found.template else found.text
            columns = {
                key: value
                for key, value in (("text", text), ("label", found.label), ("embedding", found.embedding))
                if value is not None
            }
        elif vectors is not None:
            columns = {"embedding": ".npy"}
        table = Table(
            texts=self._texts if found and (found.text or found.template) else None,
            labels=labels,
            embeddings=vectors,
            label_sets=sets,
            others=Others(self._parts),
            in_files=self._done,
            files=tuple(file.name for file in self._files),
            columns=columns,
            said=tuple(self._said),
            whole_labels=has_label and sets is None and self._whole_labels,
            class_names=tuple(self._class_names),
            chats={name: tuple(roles) for name, roles in self._chats.items()},
        )
        return table

    def _tell(self, rows: int) -> None:
        if self._progress:
            self._progress(self._done + rows)

    def _same(self, file: SourceFile, found: Found) -> None:
        """Every shard has the columns of the first."""
        self._said += found.said
        first = self._found
        if first is None:
            self._found = found
        elif (first.used, bool(first.template)) != (found.used, bool(found.template)):
            odd = listed(sorted(set(first.used) ^ set(found.used)))
            raise DataError(
                f"{file.name}: the columns read there are {listed(found.used)}, those of"
                f" {self._files[0].name} {listed(first.used)}; {odd} must be in all files or in none"
            )

    def _read_rows(self, file: SourceFile, rows: RowList) -> None:
        self._said += rows.said
        if not rows.rows:
            if len(self._files) > 1:
                self._said.append(f"{file.name}: no rows")
            return
        for row in rows.rows if file.columns else ():
            row |= {name: value for name, value in file.columns.items() if name not in row}
        try:
            found = find_columns(file.name, self._given, [*rows.names, *file.columns], rows.repeated)
        except DataError as error:
            names = self._given.named or rows.repeated or all(map(str.isidentifier, rows.names))
            if names or file.suffix not in (".csv", ".tsv"):
                raise
            mend = "If that is a row and no header, write a line of names above it"
            raise DataError(f"{error}. {mend}") from None
        self._same(file, found)
        vectors = []
        for row in rows.rows[:LOOKED_AT]:
            found.look_for_chats(row, self._chats)
        for number, row in enumerate(rows.rows):
            where = f"{file.name}: {rows.where(number)}"
            if found.text or found.template:
                self._texts.append(found.text_in(row, where))
            if found.label is not None:
                self._take_label(where, found, row)
            if found.embedding is not None:
                vectors.append(vector_of(where, found.embedding, row.get(found.embedding)))
            for name in found.own:
                row.pop(name, None)  # type: ignore[arg-type]
        if found.embedding is not None:
            self._take_vectors(file, stack(file.name, rows.where, vectors))
        others = [name for name in (*rows.names, *file.columns) if name not in found.own]
        self._parts.append(HeldRows(others, rows.rows))
        self._done += len(rows.rows)

    def _take_label(self, where: str, found: Found, row: Mapping[str, Any]) -> None:
        if self._given.multi_label:
            self._sets.append(found.labels_in(row, where))
            return
        assert found.label is not None
        value = cell(row, found.label)
        self._labels.append(label_of(where, found.label, value))
        if isinstance(value, bool | str):
            self._whole_labels = False

    def _take_vectors(self, file: SourceFile, block: np.ndarray) -> None:
        if self._blocks and block.shape[1] != self._blocks[0].shape[1]:
            raise DataError(
                f"{file.name}: rows are {block.shape[1]} wide, those of {self._files[0].name}"
                f" {self._blocks[0].shape[1]}"
            )
        self._blocks.append(block)

    def _read_arrow(self, source: ArrowFile, *, own: bool = True) -> None:
        """Read a file; of one that is not `own` all but its rows."""
        file = source.file
        if not source.rows:
            if len(self._files) > 1:
                self._said.append(f"{file.name}: no rows")
            return
        keys = {name: value for name, value in file.columns.items() if name not in source.names}
        counts = Counter(source.names)
        found = find_columns(
            file.name,
            self._given,
            [*counts, *keys],
            [name for name, count in counts.items() if count > 1],
        )
        self._same(file, found)
        names = source.class_names.get(found.label or "", [])
        if names and names != self._class_names:
            self._said.append(said_of_classes(file.name, names))
        self._class_names = names
        inside = [name for name in found.used if name not in keys]
        start = 0
        for batch in source.batches(inside) if inside and own else ():
            self._take_batch(file, batch, start, found, keys)
            start += batch.num_rows
            self._tell(start)
        others = [name for name, count in counts.items() if name not in found.own and count == 1]
        self._parts.append(LazyRows(source, others))
        self._done += source.rows

    def _take_batch(
        self, file: SourceFile, batch: Any, start: int, found: Found, keys: dict[str, str]
    ) -> None:
        cells = {}
        for name in batch.schema.names:
            values = batch.column(batch.schema.get_field_index(name))
            if name == found.embedding:
                if values.null_count:
                    row = start + int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
                    raise DataError(
                        f"{file.name}: row {row} has no value for '{name}'; fill it in or remove the row"
                    )
                self._spill_vectors(file, start, name, values)
            else:
                cells[name] = short_numbers(values)
                if name == found.label and self._class_names:
                    cells[name] = [class_named(value, self._class_names) for value in cells[name]]
        for number in range(batch.num_rows):
            where = f"{file.name}: row {start + number}"
            row = keys | {name: values[number] for name, values in cells.items()}
            if start + number < LOOKED_AT:
                found.look_for_chats(row, self._chats)
            if found.text or found.template:
                self._texts.append(found.text_in(row, where))
            if found.label is not None:
                self._take_label(where, found, row)

    def _spill_vectors(self, file: SourceFile, start: int, name: str, values: Any) -> None:
        block = arrow_vectors(file.name, start, name, values)
        if self._spill is None:
            self._spill = Spill(self._to_read, block.shape[1], self._scratch)
        if block.shape[1] != self._spill.width:
            raise DataError(
                f"{file.name}: rows from {start} have embeddings {block.shape[1]} wide, earlier rows"
                f" {self._spill.width}"
            )
        self._spill.append(block)
