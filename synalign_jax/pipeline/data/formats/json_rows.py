"""JSON: an object a line, one array of objects, or the other shapes that libraries write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from synalign_jax.pipeline.data.errors import DataError, listed
from synalign_jax.pipeline.data.shards import SourceFile

from .chat import CHATS
from .rows import REPORT_EVERY, RowList, Tell
from .text import Lines

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CHATS = (*CHATS, "dialogue")
_SPACE = re.compile("[\\s\ufeff]*")  # a byte order mark inside: files were joined
_OTHERS = {  # what stands where JSON was expected, and the mend
    "{'": "it is a Python dictionary; write it with json.dumps",
    "data:": "it is an event stream; take 'data: ' off every line",
    "```": "a code fence stands around the rows; take it off",
    "<": "it is a web page or XML; was the file downloaded?",
    "//": "comments are no JSON; take them out",
    "#": "comments are no JSON; take them out",
}


def read_json(file: SourceFile, wanted: set[str], encoding: str | None, tell: Tell | None) -> RowList:
    """
    Args:
        wanted: names of the columns that will be looked at: an object that has one is a row.

    Raises:
        DataError: a line or item that is not an object or not JSON, is named; so is a name that an object
            has twice.
    """
    lines = Lines(file, encoding)
    found = RowList(said=lines.said)
    with lines.open() as stream:
        first, number = next(((line, n) for n, line in enumerate(stream, 1) if line.strip()), ("", 0))
        if _is_object(first):
            for place, line in _numbered(first, number, stream):
                for row in _parsed(file, f"line {place}", line, found):
                    _add(found, file, place, row)
                if tell and len(found.rows) % REPORT_EVERY == 0:
                    tell(len(found.rows))
            single = found.rows[0] if len(found.rows) == 1 else None
            return _shaped(file, found, single, wanted) if single and file.suffix == ".json" else found
        text = first + "".join(stream)
    return _whole(file, text, number, found, wanted, tell)


def _numbered(first: str, number: int, rest: Iterator[str]) -> Iterator[tuple[int, str]]:
    yield number, first
    for place, line in enumerate(rest, number + 1):
        if line.strip():
            yield place, line


def _is_object(line: str) -> bool:
    """Whether a line by itself begins as JSONL does. A broken one does too, unless the object goes on."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(_DECODER.raw_decode(line.lstrip())[0], dict)
    except _Repeated:
        return True
    except ValueError:
        # "{" alone opens an object that is laid out over lines.
        return len(line.strip()) > 1 and not line.rstrip().endswith(("{", "[", ","))


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return row


class _Repeated(Exception):
    pass


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


def _parsed(file: SourceFile, where: str, line: str, found: RowList) -> list[Any]:
    """The objects of a line: one, unless a writer forgot the line ends; a comma behind it is said."""
    values: list[Any] = []
    at = _skip(line, 0)
    try:
        while at < len(line) or not values:
            value, at = _DECODER.raw_decode(line, at)
            values.append(_checked(file, where, line, value))
            at = _skip(line, at)
            if line[at:].strip() == ",":
                said = f"{file.name}: lines end in commas, which are passed over"
                found.said += [said] if said not in found.said else []
                break
            if at < len(line) and line[at] != "{":
                raise json.JSONDecodeError("Extra data", line, at)
        if len(values) > 1:
            said = f"{file.name}: some lines hold several objects, each of which is a row"
            found.said += [said] if said not in found.said else []
        return values
    except json.JSONDecodeError as error:
        ending = "" if line.endswith("\n") else " and the file ends there: it may have been cut off"
        if any(line[_skip(line, 0) :].startswith(start) for start in _OTHERS):
            ending = ""
        raise DataError(f"{file.name}: {where} is not JSON ({error.msg}{_mend(line)}){ending}") from error
    except _Repeated as error:
        raise DataError(f"{file.name}: {where} names '{error}' twice in one object") from error
    except RecursionError as error:
        raise DataError(f"{file.name}: {where} is nested too deeply") from error


def _mend(line: str) -> str:
    begin = line[_skip(line, 0) :]
    if re.match(r"[\w ]+[,\t;]", begin):
        return ": if it is a table of CSV, rename it to .csv"
    return next((f": {mend}" for start, mend in _OTHERS.items() if begin.startswith(start)), "")


def _checked(file: SourceFile, where: str, line: str, value: Any) -> Any:
    """The value, no part of which holds half of a surrogate pair: such a text can never be written again."""
    if _SURROGATE.search(line):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            columns = [
                name for name, part in (value.items() if isinstance(value, dict) else ()) if _is_broken(part)
            ]
            inside = f" in {listed(columns)}" if columns else ""
            raise DataError(
                f"{file.name}: {where} holds half of a surrogate pair{inside}"
                f" (\\u{ord(error.object[error.start]):04x}), which is no character; remove it"
            ) from None
    return value


def _is_broken(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _add(found: RowList, file: SourceFile, place: int, row: Any) -> None:
    if isinstance(row, str) and row.strip().startswith(("{", "[")):
        raise DataError(
            f"{file.name}: {found.place} {place} is a text that holds JSON: it was encoded twice; decode the"
            " file's texts once more (json.loads) and write what comes out"
        )
    if not isinstance(row, dict):
        raise DataError(f'{file.name}: {found.place} {place} is not a JSON object like {{"text": ...}}')
    found.names.update(dict.fromkeys(row))
    found.add(place, row)


def _whole(
    file: SourceFile, text: str, line: int, found: RowList, wanted: set[str], tell: Tell | None
) -> RowList:
    """An array, one object over many lines, or several such one after the other."""
    found.place = "item"
    at = _skip(text, 0)
    if at == len(text):
        return found
    is_array = text[at] == "["
    at = at + 1 if is_array else at
    number = 0
    while (at := _skip(text, at)) < len(text):
        if is_array and text[at] == "]":
            break
        if number and is_array:
            if text[at] != ",":
                raise _broken(file, text, at, line, "',' expected")
            at = _skip(text, at + 1)
            if text[at : at + 1] == "]":  # a comma too many
                break
        number += 1
        start = at
        where = f"item {number} (line {line + text.count(chr(10), 0, at)})"
        try:
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _broken(file, text, error.pos, line, error.msg) from error
        except _Repeated as error:
            raise DataError(f"{file.name}: {where} names '{error}' twice in one object") from error
        except RecursionError as error:
            raise DataError(f"{file.name}: {where} is nested too deeply") from error
        _add(found, file, number, _checked(file, where, text[start:at], value))
        if tell and number % REPORT_EVERY == 0:
            tell(number)
    else:
        if is_array:
            raise DataError(f"{file.name}: the array is not closed; the file may have been cut off")
    if is_array:
        rest = _skip(text, at + 1)
        if rest < len(text):
            raise _broken(file, text, rest, line, "more after the array")
        return found
    return _shaped(file, found, found.rows[0], wanted) if len(found.rows) == 1 else found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _broken(file: SourceFile, text: str, at: int, line: int, reason: str) -> DataError:
    ending = " and the file ends there: it may have been cut off" if at >= len(text.rstrip()) - 1 else ""
    line += text.count("\n", 0, at)
    return DataError(f"{file.name}: line {line} is not JSON ({reason}{_mend(text[at:])}){ending}")


def _shaped(file: SourceFile, found: RowList, value: dict[str, Any], wanted: set[str]) -> RowList:
    """The rows inside a single object: pandas' shapes (split, index, columns) and {"data": [...]}."""
    if wanted & set(value) and not all(isinstance(part, dict | list) for part in value.values()):
        return found
    if {"columns", "data"} <= set(value) <= {"columns", "data", "index"}:
        names, cells = value["columns"], value["data"]
        for number, row in enumerate(cells, 1):
            if not isinstance(row, list) or len(row) != len(names):
                wrong = f"holds {len(row)} values" if isinstance(row, list) else "is no list"
                raise DataError(f"{file.name}: item {number} of 'data' {wrong}, 'columns' {len(names)} names")
        rows = [dict(zip(names, row, strict=True)) for row in cells]
        return _inside(file, rows, "'data', named by 'columns'")
    parts = list(value.values())
    if parts and all(isinstance(part, dict) for part in parts):
        if any(wanted & set(part) for part in parts):
            return _inside(file, parts, "the values of one object")
        keys = list(parts[0])
        if all(list(part) == keys for part in parts):
            rows = [{name: part[key] for name, part in value.items()} for key in keys]
            return _inside(file, rows, "columns of one object")
    lists = {
        name: part
        for name, part in value.items()
        if name not in _CHATS and isinstance(part, list) and part and all(isinstance(i, dict) for i in part)
    }
    if len(lists) == 1:
        name, rows = next(iter(lists.items()))
        return _inside(file, rows, f"'{name}'")
    if len(lists) > 1 and len(lists) == len(value):
        raise DataError(
            f"{file.name}: one object holds several lists of rows ({listed(lists)}); write each to a file of"
            " its own"
        )
    if wanted & set(value) and all(isinstance(part, list) for part in parts):
        lengths = {len(part) for part in parts}
        if len(lengths) == 1 and not all(isinstance(i, int | float) for i in parts[0]):
            rows = [dict(zip(value, row, strict=True)) for row in zip(*parts, strict=True)]
            return _inside(file, rows, "columns of one object")
    return found


def _inside(file: SourceFile, rows: list[dict[str, Any]], where: str) -> RowList:
    found = RowList(place="item", said=[f"{file.name}: the rows are {where}"])
    for number, row in enumerate(rows, 1):
        _add(found, file, number, row)
    return found
