"""Columns of which several processes have each read some files: on disk for all of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synalign_jax.core.joined import JoinedRows
from synalign_jax.pipeline.on_disk import RowsOnDisk

from .errors import DataError
from .shards import SourceFile

_BLOCK = 65_536  # rows that are written together
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string())])


class Peers(Protocol):
    """Processes that do the same at the same time, this one being number `index` of `count`."""

    @property
    def index(self) -> int: ...

    @property
    def count(self) -> int: ...

    def told(self, value: Any) -> list[Any]:
        """What each of them calls this with, in their order: what JSON can hold."""
        ...


def own_files(files: Sequence[SourceFile], peers: Peers | None) -> range | None:
    """The numbers of the files that are this process's to read; None where each reads all."""
    if peers is None or not 1 < peers.count <= len(files):
        return None
    if any(file.suffix not in (".parquet", ".arrow", ".feather") for file in files):
        return None
    first, last = (len(files) * i // peers.count for i in (peers.index, peers.index + 1))
    return range(first, last)


class TextsOnDisk(Sequence[str]):
    """Texts of an Arrow column, which may be mapped from files: a text is a string while it is looked at."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        return self._column[row].to_pylist() if isinstance(row, slice) else self._column[row].as_py()

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.chunks:
            yield from chunk.to_pylist()

    def of(self, rows: np.ndarray) -> TextsOnDisk:
        """Those of chosen rows."""
        return TextsOnDisk(self._column.take(pa.array(rows)))


@dataclass
class Read:
    """What was read of some files.

    Attributes:
        texts: one a row, or none.
        marks: the label of each row, or its labels; or none.
        whole_labels: whether all labels are whole numbers in the files.
        chats: columns that hold conversations, and who speaks there.
        vectors: (rows, width), or None.
    """

    texts: Sequence[str]
    marks: list[Any]
    whole_labels: bool
    chats: dict[str, dict[str, None]]
    vectors: Any

    def of_all(self, peers: Peers, scratch: Path, first: str) -> Read:
        """The same of all files, in every process.

        Args:
            scratch: a folder that all processes see, where what was read lies until it is opened.
            first: the name of the first file that was read.

        Raises:
            DataError: a process could not write what it has read to `scratch`, or another does not see it;
                vectors of two widths.
        """
        chats = {name: list(roles) for name, roles in self.chats.items()}
        width = 0 if self.vectors is None else self.vectors.shape[1]
        said = peers.told([first, len(self.texts), len(self.marks), width, self.whole_labels, chats])
        widths = {width: name for name, _, _, width, _, _ in said if width}
        if len(widths) > 1:
            (one, of_one), (other, of_other) = list(widths.items())[:2]
            raise DataError(f"{of_other}: rows are {other} wide, those of {of_one} {one}")
        width = max([0, *widths])
        name = peers.told(secrets.token_hex(8))[0]
        places = [scratch / f".synalign-read-{name}-{index}" for index in range(peers.count)]
        own = places[peers.index]
        try:
            _together(peers, lambda: self._write(own, width))
            every: list[tuple[pa.Table, Any]] = []
            _together(peers, lambda: every.extend(_opened(place, width) for place in places))
        finally:  # what is open stays readable
            for suffix in (".arrow", ".npy"):
                own.with_suffix(suffix).unlink(missing_ok=True)
        columns = pa.concat_tables([table for table, _ in every])
        speakers: dict[str, dict[str, None]] = {}
        for *_, of_process in said:
            for column, roles in of_process.items():
                speakers.setdefault(column, {}).update(dict.fromkeys(roles))
        return Read(
            TextsOnDisk(columns["text"]) if any(texts for _, texts, *_ in said) else [],
            _marks(columns["label"]) if any(marks for _, _, marks, *_ in said) else [],
            all(whole for *_, whole, _ in said),
            speakers,
            JoinedRows([vectors for _, vectors in every]) if width else None,
        )

    def _write(self, place: Path, width: int) -> None:
        rows = max(len(self.texts), len(self.marks))
        with (
            pa.OSFile(str(place.with_suffix(".arrow")), "wb") as file,
            pa.ipc.new_file(file, _SCHEMA) as writer,
        ):
            for start in range(0, rows, _BLOCK):
                block = slice(start, start + _BLOCK)
                size = min(_BLOCK, rows - start)
                texts = list(self.texts[block]) or [None] * size
                marks = [json.dumps(mark) for mark in self.marks[block]] or [None] * size
                columns = [pa.array(values, pa.string()) for values in (texts, marks)]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
        if width:
            vectors = np.zeros((0, width), np.float32) if self.vectors is None else self.vectors
            np.save(place.with_suffix(".npy"), vectors, allow_pickle=False)


def _together(peers: Peers, work: Any) -> None:
    """Have each process do its work; where one cannot, all raise."""
    fault = None
    try:
        work()
    except (OSError, pa.ArrowException) as error:
        fault = str(error)
    if faults := [one for one in peers.told(fault) if one is not None]:
        raise DataError(f"{faults[0]}: all processes must see one file system beside --out, with room in it")


def _opened(place: Path, width: int) -> tuple[pa.Table, Any]:
    table = pa.ipc.open_file(pa.memory_map(str(place.with_suffix(".arrow")))).read_all()
    return table, RowsOnDisk(place.with_suffix(".npy")) if width else None


def _marks(column: pa.ChunkedArray) -> list[Any]:
    """The labels, one object for all rows of a label."""
    known: dict[str, Any] = {}
    for text in pc.call_function("unique", [column]).to_pylist():
        value = json.loads(text)
        known[text] = tuple(value) if isinstance(value, list) else value
    return [known[text] for chunk in column.chunks for text in chunk.to_pylist()]
