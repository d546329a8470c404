"""Rows as JSONL, CSV or Parquet, by the name asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import DataError

FORMATS = (".jsonl", ".csv", ".tsv", ".parquet")


def check_format(name: str, setting: str) -> None:
    """Raise DataError for a name whose ending is none of `FORMATS`."""
    if Path(name).suffix.lower() not in FORMATS:
        raise DataError(f"{setting}: {name} does not end in {', '.join(FORMATS)}")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], name: str, columns: Sequence[str] = ()) -> None:
    """
    Args:
        path: where to write.
        rows: a key that a row lacks is null there, and is left out in JSONL.
        name: its ending tells the format. CSV and TSV hold lists and dictionaries as JSON.
        columns: those that come first, whether or not a row has them.
    """
    suffix = Path(name).suffix.lower()
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    if suffix == ".parquet":
        pq.write_table(pa.table({key: _column([row.get(key) for row in rows]) for key in names}), path)
        return
    write_blocks(path, [rows], name, names)


def write_blocks(
    path: Path, blocks: Iterable[Sequence[Mapping[str, Any]]], name: str, columns: Sequence[str]
) -> None:
    """`write_rows` as JSONL, CSV or TSV of rows that come in blocks, so that one of these is held at a time.

    Args:
        columns: those that CSV and TSV have.
    """
    suffix = Path(name).suffix.lower()
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            for rows in blocks:
                file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
            return
        # A line end of two characters has the writer quote either of them inside a field.
        writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n")
        writer.writerow(columns)
        for rows in blocks:
            writer.writerows([_cell(row.get(key)) for key in columns] for row in rows)


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # values of several kinds
        return pa.array([None if value is None else _cell(value) for value in values], pa.string())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )


def with_others(own: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our columns first, then the rest of each row; one of our name is kept as "original_NAME"."""
    rows = []
    for ours, theirs in zip(own, others, strict=True):
        row = dict(ours)
        for name, value in theirs.items():
            while name in row:
                name = f"original_{name}"
            row[name] = value
        rows.append(row)
    return rows
