"""How a file of separated values is written: by what it is cut, how it is quoted, where its header stands."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.shards import SourceFile

from .text import Lines

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_JSON = re.compile(r'\[?\s*\{\s*"[^"]*"\s*:|[\[{]\s*$')
_NEARLY_ALL = 0.9
_ABOVE = 10  # lines among which the header is looked for
_LOOKED_AT = 200  # lines that tell how the file is written


@dataclass(frozen=True)
class Dialect:
    separator: str
    quotes: bool
    skips_space: bool
    skipped: int  # lines before the header
    escaped: bool = False  # quotes inside a text have a backslash before them
    quote: str = '"'

    def reader(self, lines: Iterator[str]) -> Any:
        return csv.reader(
            lines,
            delimiter=self.separator,
            quotechar=self.quote,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            skipinitialspace=self.skips_space,
            strict=True,
        )


def find_dialect(file: SourceFile, lines: Lines, wanted: set[str]) -> Dialect:
    """How the file is written, as its first lines show it.

    Args:
        wanted: names of the columns that will be looked at.
    """
    with lines.open() as stream:  # blank lines before the header are none
        filled = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream) if line.strip())
        first = list(itertools.islice(filled, _LOOKED_AT))
    skipped, header = first[0] if first else (0, "")
    if not header.strip():
        raise DataError(f"{file.name}: the file is empty")
    if _JSON.match(header):
        raise DataError(f"{file.name}: this is JSON under another name; rename it to .json or .jsonl")
    usual = "\t" if file.suffix == ".tsv" else ","
    if header.lower().startswith("sep=") and len(header) == 5:  # Excel's own hint
        return Dialect(header[4], True, False, skipped + 1)
    above = _above_the_header([line for _, line in first[:_ABOVE]], wanted)
    if above:
        lines.said.append(
            f"{file.name}: the names of the columns stand in line {first[above][0] + 1}; what is above it"
            f" ({header[:40]!r}) is left out"
        )
        del first[:above]
        skipped, header = first[0]
    separator = _separator(header, usual, wanted)
    if separator != usual:
        lines.said.append(f"{file.name}: read as separated by {_SEPARATORS[separator]}")
    after = header.split(separator)[1:]
    dialect = Dialect(separator, True, bool(after) and all(part.startswith(" ") for part in after), skipped)
    if _is_single_quoted([line for _, line in first], dialect):
        lines.said.append(f"{file.name}: read as quoted by single quotes (')")
        return replace(dialect, quote="'")
    return dialect


def _separator(header: str, usual: str, wanted: set[str]) -> str:
    """The one that cuts the header into the most wanted names; the usual one unless another does better."""

    def score(separator: str) -> tuple[int, bool, bool, int]:
        try:
            names = next(csv.reader([header], delimiter=separator))
        except (csv.Error, StopIteration):
            names = [header]
        cut = len(names) > 1
        known = sum(name.strip().strip('"') in wanted for name in names)
        return known, cut and separator == usual, cut, len(names)

    return max((usual, *(s for s in _SEPARATORS if s != usual)), key=score)


def _above_the_header(first: list[str], wanted: set[str]) -> int:
    """How many lines stand above the names of the columns: comments, titles, a header over groups of them."""
    if _known(first[0], wanted):
        return 0
    found = (place for place, line in enumerate(first[1:], 1) if len(_known(line, wanted)) > (place > 1))
    return next(found, 0)


def _known(header: str, wanted: set[str]) -> list[str]:
    """Those of the wanted names that a line has as its cells, under any separator."""
    cells = {cell.strip().strip("\"'") for separator in _SEPARATORS for cell in header.split(separator)}
    return sorted(cells & wanted)


def _is_single_quoted(first: list[str], dialect: Dialect) -> bool:
    """Whether fields stand in single quotes: then strict reading by them gives whole rows, and some field of
    nearly every row begins with one.
    """
    rows = first[1:]
    begins = re.compile(rf"(?:^|{re.escape(dialect.separator)})\s*'")
    doubly = re.compile(rf'(?:^|{re.escape(dialect.separator)})\s*"')
    if len(rows) < 2 or sum(bool(begins.search(row)) for row in rows) < _NEARLY_ALL * len(rows):
        return False
    if any(map(doubly.search, rows)):
        return False
    try:
        header, *read = replace(dialect, quote="'").reader(iter(first))
    except csv.Error:
        return False
    return all(len(fields) == len(header) for fields in read if fields)
