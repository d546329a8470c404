"""Separated values in the dialects that people have: commas, semicolons, tabs; quotes or none."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.shards import SourceFile
from synalign_jax.pipeline.data.values import bare

from .opened import opened
from .rows import REPORT_EVERY, RowList, Tell
from .text import Lines

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')  # a quote behind an odd number of backslashes
_QUOTE, _RETURN = "\0q", "\0r"  # stand for such a quote and for a lone "\r": no line holds a NUL
_RULE = re.compile(r"\s*:?-{3,}:?\s*")  # a cell of the line below the header of a Markdown table
_MARK = "\ufeff"  # a byte order mark: inside a file, where files were joined
_SHOWN = 3  # lines of a file that one remark names
_JSON = re.compile(r'\[?\s*\{\s*"[^"]*"\s*:|[\[{]\s*$')


@dataclass(frozen=True)
class _Dialect:
    separator: str
    quotes: bool
    skips_space: bool
    skipped: int  # lines before the header
    escaped: bool = False  # quotes inside a text have a backslash before them

    def reader(self, lines: Iterator[str]) -> Any:
        return csv.reader(
            lines,
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            skipinitialspace=self.skips_space,
            strict=True,
        )


def read_delimited(file: SourceFile, wanted: set[str], encoding: str | None, tell: Tell | None) -> RowList:
    """
    Args:
        wanted: names of the columns that will be looked at; they help to tell the separator.

    Raises:
        DataError: an empty file, a line with more or fewer fields than the header, a quote that is not
            closed; the line is named.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = Lines(file, encoding)
    dialect = _dialect(file, lines, wanted)
    try:
        found, doubtful = _read(file, lines, dialect, tell)
    except DataError as error:
        # Spark and MySQL put a backslash before a quote where others double it.
        try:
            found, doubtful = _read(file, lines, replace(dialect, escaped=True), tell)
        except DataError:
            pass
        else:
            found.said.append(f"{file.name}: a backslash before a quote makes it part of the text")
            if doubtful:
                _say_doubtful(file, found, doubtful)
            return found
        # Many files, tab-separated ones above all, are written without quoting: there a quote is a character.
        plain = replace(dialect, quotes=False)
        try:
            found, _ = _read(file, lines, plain, tell)
        except DataError:
            raise error from None
        if len(found.names) < 2 or _is_cut(file, error) or _is_quoted(found):
            raise error from None
        found.said.append(
            f"{file.name}: quotes are taken as characters of the texts, since they do not pair up ({error})"
        )
        return found
    if doubtful:
        _say_doubtful(file, found, doubtful)
    return found


def _dialect(file: SourceFile, lines: Lines, wanted: set[str]) -> _Dialect:
    with lines.open() as stream:  # blank lines before the header are none
        filled = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream) if line.strip())
        skipped, header = next(filled, (0, ""))
    if not header.strip():
        raise DataError(f"{file.name}: the file is empty")
    if _JSON.match(header):
        raise DataError(f"{file.name}: this is JSON under another name; rename it to .json or .jsonl")
    usual = "\t" if file.suffix == ".tsv" else ","
    if header.lower().startswith("sep=") and len(header) == 5:  # Excel's own hint
        return _Dialect(header[4], True, False, skipped + 1)
    separator = _separator(header, usual, wanted)
    if separator != usual:
        lines.said.append(f"{file.name}: read as separated by {_SEPARATORS[separator]}")
    after = header.split(separator)[1:]
    return _Dialect(separator, True, bool(after) and all(part.startswith(" ") for part in after), skipped)


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


def _read(
    file: SourceFile, lines: Lines, dialect: _Dialect, tell: Tell | None
) -> tuple[RowList, list[tuple[int, int]]]:
    """The rows; and first and last line of those over several lines each of which looks like a row itself."""
    found = RowList(said=list(lines.said))
    doubtful: list[tuple[int, int]] = []
    with lines.open() as stream:
        returns: list[int] = []
        is_markdown, headers = False, []
        kept = _Remembering(_marked(itertools.islice(stream, dialect.skipped, None), dialect, returns))
        reader = dialect.reader(kept)
        try:
            header = next(reader, None)
            if header is None:
                raise DataError(f"{file.name}: the file is empty")
            names = _names(header, found)
            for start, fields in _numbered(reader, kept, dialect.skipped):
                if not fields:
                    continue
                if len(fields) != len(header):
                    mend = "the file may be cut off there, or a quote is missing"
                    if len(header) == 1:
                        mend = f"is {header[0][:40]!r} the header? Texts that hold the separator need quotes"
                    raise DataError(
                        f"{file.name}: line {start} has {len(fields)} fields, the header has {len(header)};"
                        f" {mend}"
                    )
                if len(header) > 1 and [bare(field) for field in fields] == [bare(name) for name in header]:
                    headers.append(start)
                    continue
                if not found.rows and dialect.separator == "|" and _is_rule(fields):
                    is_markdown = True
                    continue
                if is_markdown:
                    fields = [field.strip(" ") for field in fields]
                if dialect.escaped or returns:
                    fields = [value.replace(_QUOTE, '"').replace(_RETURN, "\r") for value in fields]
                found.add(start, dict(zip(names, fields, strict=True)))
                if len(kept.lines) > 1 and len(header) > 1:
                    cuts = len(header) - 1
                    if all(line.count(dialect.separator) == cuts for line in kept.lines):
                        doubtful.append((start, start + len(kept.lines) - 1))
                if tell and len(found.rows) % REPORT_EVERY == 0:
                    tell(len(found.rows))
        except csv.Error as error:
            raise DataError(
                f"{file.name}: line {reader.line_num + dialect.skipped}: {error}; the file may be cut off,"
                " or a quote is missing"
            ) from error
    if headers:
        more = f" and {len(headers) - 1:,} more" if headers[1:] else ""
        found.said.append(f"{file.name}: line {headers[0]}{more} repeats the header, and is left out")
    if is_markdown:
        found.said.append(f"{file.name}: read as a Markdown table")
    if returns:
        more = f" and {len(returns) - 1:,} more" if returns[1:] else ""
        found.said.append(
            f"{file.name}: line {returns[0]}{more}: a carriage return inside a line is taken as a character"
            " of its text"
        )
    _drop_empty_end(file, found)
    _drop_unnamed(found)
    return found, doubtful


def _marked(lines: Iterator[str], dialect: _Dialect, returns: list[int]) -> Iterator[str]:
    """What the parser would stumble over, replaced; `returns` gets the lines with a lone carriage return.

    Writers that end lines in "\n" leave it without quotes (pandas, and Python's csv before 3.13). In the
    header it would mean that it ends the lines.
    """
    for number, line in enumerate(lines, dialect.skipped + 1):
        if line.startswith(_MARK):  # files were joined: it is the start of one, and no character
            line = line.lstrip(_MARK)
        if dialect.escaped:
            line = _ESCAPED.sub(rf"\1{_QUOTE}", line)
        if "\r" in line and number > dialect.skipped + 1:
            text = line.rstrip("\r\n")
            if "\r" in text:
                returns.append(number)
                line = text.replace("\r", _RETURN) + line[len(text) :]
        yield line


def _is_rule(fields: list[str]) -> bool:
    """Whether this is the line below the header of a Markdown table: dashes, blank outside of the bars."""
    filled = [field for field in fields if field.strip()]
    return bool(filled) and all(_RULE.fullmatch(field) for field in filled)


class _Remembering:
    """Passes lines on, and keeps those of the present row."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.lines: list[str] = []

    def __iter__(self) -> _Remembering:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.lines.append(line)
        return line


def _numbered(reader: Any, kept: _Remembering, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins: a quoted field may span lines."""
    start = reader.line_num + 1 + skipped
    kept.lines.clear()
    for fields in reader:
        yield start, fields
        start = reader.line_num + 1 + skipped
        kept.lines.clear()


def _names(header: list[str], found: RowList) -> list[str]:
    """Names of the columns: blanks around them taken off, and a number where there is none, or one twice."""
    stripped = [bare(name) for name in header]
    counts = Counter(name for name in stripped if name)
    found.repeated = {name for name, count in counts.items() if count > 1}
    names, seen = [], Counter[str]()
    for number, name in enumerate(stripped, 1):
        seen[name] += 1
        if not name:
            name = f"column {number}"
        elif seen[name] > 1:
            name = f"{name} ({seen[name]})"
        while name in names:
            name += "'"
        names.append(name)
    found.names = dict.fromkeys(names)
    found.unnamed = [name for name, given in zip(names, stripped, strict=True) if not given]
    return names


def _drop_empty_end(file: SourceFile, found: RowList) -> None:
    """Spreadsheets write separators for the empty rows below a table."""
    last = len(found.rows)
    while last > 1 and not any(found.rows[last - 1].values()):
        last -= 1
    if len(found.names) > 1 and (empty := len(found.rows) - last):
        del found.rows[last:], found.places[last:]
        found.said.append(f"{file.name}: {empty:,} lines at the end hold separators alone, and are left out")


def _drop_unnamed(found: RowList) -> None:
    """Separators at the ends of lines make columns without a name or a value."""
    for name in found.unnamed:
        if not any(row[name] for row in found.rows):
            del found.names[name]
            for row in found.rows:
                del row[name]


def _is_cut(file: SourceFile, error: DataError) -> bool:
    """Whether the file ends inside a quote and without a line end."""
    if "unexpected end of data" not in str(error):
        return False
    last = b""
    with opened(file) as stream:
        while part := stream.read(2**20):
            last = part
    return not last.rstrip(b"\0").endswith((b"\n", b"\r"))


def _is_quoted(found: RowList) -> bool:
    """Whether so many fields stand in quotes that the file is quoted after all, and broken somewhere."""
    quoted = sum(
        any(len(value) > 1 and value[0] == value[-1] == '"' for value in row.values()) for row in found.rows
    )
    return quoted > 0.2 * len(found.rows) or _all_pair_up(found)


def _all_pair_up(found: RowList) -> bool:
    """Whether every quote opens a field or closes one, and a separator stands inside of some."""
    across = False
    for row in found.rows:
        inside = False
        for value in row.values():
            whole = len(value) > 1 and value[0] == value[-1] == '"'
            if inside:
                inside = not value.endswith('"')
                across = True
            elif not whole and '"' in value:
                inside = value.startswith('"') and value.count('"') == 1
                if not inside:
                    return False
        if inside:
            return False
    return across


def _say_doubtful(file: SourceFile, found: RowList, doubtful: list[tuple[int, int]]) -> None:
    spans = ", ".join(f"{first} to {last}" for first, last in doubtful[:_SHOWN])
    more = f" and {len(doubtful) - _SHOWN:,} more" if len(doubtful) > _SHOWN else ""
    found.said.append(
        f"{file.name}: lines {spans}{more} are read as one row each: a quote opens in the first of them;"
        ' if they are rows of their own, double the quote ("") or remove it'
    )
