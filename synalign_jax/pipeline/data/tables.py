"""Tables of texts, labels and embeddings from files, read strictly: a bad row is named, never dropped."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .spill import Spill

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".npy")
_REPORT_EVERY = 10_000


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the row and the mend."""


@dataclass(frozen=True)
class Table:
    """Rows of one file. Each column is None when the file does not have it.

    Attributes:
        texts: one string a row.
        labels: one string a row; numbers in the file become their decimal form.
        embeddings: (rows, width) floating array; memory-mapped when it comes from a `.npy` file or was
            put on disk.
    """

    texts: list[str] | None
    labels: list[str] | None
    embeddings: np.ndarray | None

    def __len__(self) -> int:
        for column in (self.texts, self.labels, self.embeddings):
            if column is not None:
                return len(column)
        return 0


def read_table(
    path: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    embedding: str = "embedding",
    required: tuple[str, ...] = (),
    progress: Callable[[int], None] | None = None,
    scratch: Path | None = None,
) -> Table:
    """Read a JSONL, CSV, TSV, Parquet or `.npy` file.

    Args:
        path: the file; its suffix tells the format.
        text, label, embedding: names of the columns. A column the file lacks is None in the result.
        required: names of columns that must be there.
        progress: called with the number of rows read so far.
        scratch: a folder with room for the embeddings of a Parquet file of more than 1 GiB of them, which
            are not held in memory then; the space is free again when they are no longer used.

    Raises:
        DataError: an unknown format, no file, no rows, a required column missing, none of the columns there,
            a null or ill-typed value (its row is named), bytes that are not UTF-8, a file that ends mid-row.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: unknown format '{path.suffix}'; use one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".npy":
        return Table(None, None, _read_npy(path))
    wanted = (text, label, embedding)
    if path.suffix.lower() == ".parquet":
        columns, present = _read_parquet(path, wanted, progress, scratch)
    else:
        rows = _csv_rows(path) if path.suffix.lower() in (".csv", ".tsv") else _json_rows(path)
        columns, present = _collect(path, rows, wanted, progress)
    for name in required:
        if name not in present:
            raise DataError(
                f"{path}: no column '{name}'; the columns are {_listed(present)}: name the right one"
            )
    if not set(wanted) & set(present):
        raise DataError(f"{path}: none of the columns {_listed(wanted)}; the columns are {_listed(present)}")
    if not any(columns[name] is not None and len(columns[name]) for name in wanted):
        raise DataError(f"{path}: the file has no rows")
    return Table(columns[text], columns[label], columns[embedding])


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "(none)"


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DataError(
            f"{path}: not a readable .npy array ({error}); write it again with numpy.save"
        ) from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{path}: expected a (rows, width) floating array, got {array.shape} {array.dtype}")
    if array.shape[0] == 0:
        raise DataError(f"{path}: the file has no rows")
    return array


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file; a byte order mark is passed over."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}: line {number} is not UTF-8 (byte {error.object[error.start]:#04x} at position"
                    f" {error.start}); convert the file, for example with: iconv -f latin1 -t utf-8"
                ) from error
            if "\0" in line:
                raise DataError(f"{path}: line {number} holds a NUL byte; the file is damaged or not text")
            yield line


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            ending = "" if line.endswith("\n") else " and the file ends there: it may have been cut off"
            raise DataError(f"{path}: line {number} is not JSON ({error.msg}){ending}") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}: line {number} is not a JSON object like {{"text": ...}}')
        yield f"line {number}", row


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    start = 1
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{path}: the file is empty")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise DataError(f"{path}: the header names {_listed(repeated)} twice")
        for start, fields in _numbered(reader):
            if not fields:
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{path}: line {start} has {len(fields)} fields, the header has {len(header)};"
                    " the file may be cut off there, or a quote is missing"
                )
            yield f"line {start}", dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num}: {error}; the file may be cut off, or a quote is missing"
        ) from error


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins: a quoted field may span lines."""
    start = reader.line_num + 1
    for fields in reader:
        yield start, fields
        start = reader.line_num + 1


def _collect(
    path: Path,
    rows: Iterator[tuple[str, dict[str, Any]]],
    wanted: tuple[str, ...],
    progress: Callable[[int], None] | None,
) -> tuple[dict[str, Any], list[str]]:
    text, label, embedding = wanted
    present: list[str] = []
    columns: dict[str, list[Any]] = {}
    count = 0
    for where, row in rows:
        if not count:
            present = list(row)
            columns = {name: [] for name in wanted if name in row}
        for name, values in columns.items():
            values.append(_value(path, where, name, row.get(name), is_embedding=name == embedding))
        count += 1
        if progress and count % _REPORT_EVERY == 0:
            progress(count)
    if not count:
        raise DataError(f"{path}: the file has no rows")
    result: dict[str, Any] = {name: columns.get(name) for name in (text, label)}
    result[embedding] = _stack(path, columns[embedding]) if embedding in columns else None
    return result, present


def _value(path: Path, where: str, name: str, value: Any, *, is_embedding: bool) -> Any:
    if value is None:
        raise DataError(f"{path}: {where} has no value for '{name}'; fill it in or remove the row")
    if is_embedding:
        try:
            return np.asarray(json.loads(value) if isinstance(value, str) else value, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {where}: '{name}' is not a list of numbers") from error
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise DataError(f"{path}: {where}: '{name}' is a {type(value).__name__}, expected text or a number")


def _stack(path: Path, vectors: list[np.ndarray]) -> np.ndarray:
    widths = [vector.shape for vector in vectors]
    for row, shape in enumerate(widths):
        if shape != widths[0] or len(shape) != 1:
            raise DataError(
                f"{path}: the embedding of row {row} has shape {shape}, the first has {widths[0]}"
            )
    return np.stack(vectors)


def _read_parquet(
    path: Path,
    wanted: tuple[str, ...],
    progress: Callable[[int], None] | None,
    scratch: Path | None,
) -> tuple[dict[str, Any], list[str]]:
    text, label, embedding = wanted
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({str(error).splitlines()[0]}); it may have been cut off"
        ) from error
    with file:
        present = list(file.schema_arrow.names)
        names = [name for name in wanted if name in present]
        rows = file.metadata.num_rows
        columns: dict[str, Any] = {name: ([] if name in names else None) for name in (text, label)}
        columns[embedding] = vectors = None
        done = 0
        for batch in file.iter_batches(batch_size=_REPORT_EVERY, columns=names):
            for name in names:
                values = batch.column(batch.schema.get_field_index(name))
                if values.null_count:
                    row = done + int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
                    raise DataError(
                        f"{path}: row {row} has no value for '{name}'; fill it in or remove the row"
                    )
                if name != embedding:
                    columns[name] += [
                        _value(path, f"row {done + i}", name, value, is_embedding=False)
                        for i, value in enumerate(values.to_pylist())
                    ]
                    continue
                block = _parquet_vectors(path, done, name, values)
                vectors = vectors or Spill(rows, block.shape[1], scratch)
                if block.shape[1] != vectors.width:
                    raise DataError(
                        f"{path}: rows from {done} have embeddings {block.shape[1]} wide, earlier rows"
                        f" {vectors.width}"
                    )
                vectors.append(block)
            done += batch.num_rows
            if progress:
                progress(done)
    if vectors is not None:
        columns[embedding] = vectors.finish()
    return columns, present


def _parquet_vectors(path: Path, start: int, name: str, values: Any) -> np.ndarray:
    if not (
        pa.types.is_list(values.type)
        or pa.types.is_large_list(values.type)
        or pa.types.is_fixed_size_list(values.type)
    ):
        raise DataError(f"{path}: column '{name}' holds {values.type}, expected lists of numbers")
    flat = values.flatten()
    if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)):
        raise DataError(f"{path}: column '{name}' holds something other than numbers from row {start} on")
    lengths = np.asarray(values.value_lengths()) if not pa.types.is_fixed_size_list(values.type) else None
    if lengths is not None and len(set(lengths.tolist())) > 1:
        odd = int(np.flatnonzero(lengths != lengths[0])[0])
        raise DataError(
            f"{path}: the embedding of row {start + odd} has {lengths[odd]} numbers, others {lengths[0]}"
        )
    return np.asarray(flat, dtype=np.float32).reshape(len(values), -1)
