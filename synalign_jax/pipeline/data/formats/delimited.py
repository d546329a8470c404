"""Separated values in the dialects that people have: commas, semicolons, tabs; quotes or none."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.shards import SourceFile
from synalign_jax.pipeline.data.values import bare

from .dialect import Dialect, find_dialect
from .opened import opened
from .rows import REPORT_EVERY, RowList, Tell
from .text import Lines

_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')  # a quote behind an odd number of backslashes
_QUOTE, _RETURN = "\0q", "\0r"  # stand for such a quote and for a lone "\r": no line holds a NUL
_RULE = re.compile(r"\s*:?-{3,}:?\s*")  # a cell of the line below the header of a Markdown table
_MARK = "\ufeff"  # a byte order mark: inside a file, where files were joined
_FEWEST = 5  # rows from which a first one that is unlike all others tells
_SHOWN = 3  # lines of a file that one remark names


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
    dialect = find_dialect(file, lines, wanted)
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


def _read(
    file: SourceFile, lines: Lines, dialect: Dialect, tell: Tell | None
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
                if len(header) > 1 and all(map(_is_name, fields, header)):
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
            what = f"{error}; the file may be cut off, or a quote is missing"
            if "new-line character" in str(error):
                what = "it ends in a carriage return, others in a line feed; save the file with one of them"
            raise DataError(f"{file.name}: line {reader.line_num + dialect.skipped}: {what}") from error
        last = kept.last
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
    _say_second_header(file, found)
    if not last.endswith(("\n", "\r")):
        _say_cut(file, found)
    return found, doubtful


def _marked(lines: Iterator[str], dialect: Dialect, returns: list[int]) -> Iterator[str]:
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
        self.last = ""

    def __iter__(self) -> _Remembering:
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        self.lines.append(self.last)
        return self.last


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


def _say_second_header(file: SourceFile, found: RowList) -> None:
    """A line below the header that describes the columns: it alone has no number where others have one."""
    if len(found.rows) < _FEWEST:
        return
    first, *others = found.rows
    for name in found.names:
        if first[name].strip() and not _is_number(first[name]) and all(_is_number(r[name]) for r in others):
            found.said.append(
                f"{file.name}: line {found.places[0]} is read as a row, though in '{name}' it alone has no"
                f" number ({first[name][:40]!r}); if it is a second header, remove it"
            )
            return


def _say_cut(file: SourceFile, found: RowList) -> None:
    """The last field of a file without a last line end, where it is but the beginning of what others have."""
    if len(found.names) < 2 or len(found.rows) < 2:
        return
    name = list(found.names)[-1]
    *others, end = (row[name] for row in found.rows)
    if end and end not in others and (whole := next((o for o in others if o.startswith(end)), None)):
        found.said.append(
            f"{file.name}: line {found.places[-1]}, the last, has no line end, and its '{name}' {end[:40]!r}"
            f" is the beginning of {whole[:40]!r}; was the file cut off there?"
        )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_name(field: str, name: str) -> bool:
    """Whether a cell repeats its column's name, in whatever case."""
    return len(field) <= len(name) + 8 and bare(field).casefold() == bare(name).casefold()


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
