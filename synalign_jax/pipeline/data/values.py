"""What a cell means as a text or as a label."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from .errors import DataError
from .formats.chat import CHATS, ChatError, chat_text, is_chat, turns_of

_POINT = re.compile(r"([+-]?\d+)(?:\.(\d*?)0*)?")
_INVISIBLE = "\ufeff\u200b\u2060"
# What databases and spreadsheets write where there is nothing, or where a formula failed.
WORDS_FOR_NOTHING = {"nan", "none", "null", "<na>", "n/a", "#n/a", "\\n"} | {
    f"#{error}" for error in ("ref!", "name?", "value!", "div/0!", "null!", "num!")
}

_MARKS = {
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
}

SEPARATOR = " | "
"""Between the labels of a row that has several."""


def labels_in(joined: str) -> tuple[str, ...]:
    """The labels of a row that may have several, out of how they stand joined."""
    return tuple(joined.split(SEPARATOR)) if joined else ()


def bare(text: str) -> str:
    """Without the blanks around it, those that have no width and byte order marks included."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def is_missing(value: Any) -> bool:
    """Null, NaN, or a label without a character."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(where: str, name: str, value: Any, *, optional: bool = False) -> str:
    """A cell as text; a chat as one line a turn.

    Args:
        where: file and row, which open the message.
        optional: a missing value is an empty text.

    Raises:
        DataError: no value, or one that is neither text nor number nor chat.
    """
    if is_missing(value):
        if optional:
            return ""
        raise DataError(f"{where} has no value for '{name}'; fill it in or remove the row")
    value = _decoded(where, name, value)
    if is_chat(value):
        try:
            return chat_text(turns_of(value))
        except ChatError as error:
            raise DataError(f"{where}: '{name}': {error}") from None
    if isinstance(value, str):
        if name in CHATS and value.lstrip().startswith("[{"):
            raise DataError(
                f"{where}: '{name}' holds turns as no JSON writes them (NumPy prints them so); write the"
                " column with json.dumps, or the file as JSONL or Parquet"
            )
        return value
    if isinstance(value, bool | int | float | Decimal | date | time):
        return str(value)
    if value in ([], {}):
        return ""
    part = f"; name a part of it, as {name}.{_first(value)}" if _first(value) is not None else ""
    if name in CHATS and isinstance(value, list) and all(isinstance(turn, str) for turn in value):
        part += f', or, if these are turns, write them as {{"role": "user", "content": {_start(value[0])}}}'
    raise DataError(f"{where}: '{name}' is a {_kind(value)}, expected text or a number{part}")


def label_of(where: str, name: str, value: Any) -> str:
    """A cell as a label: blanks around it do not count, a whole number is one whatever its spelling.

    Raises:
        DataError: no value, or a list or dictionary of them.
    """
    value = _decoded(where, name, value)
    if is_missing(value) or (isinstance(value, str) and not bare(value)):
        raise DataError(f"{where} has no value for '{name}'; fill it in or remove the row")
    if isinstance(value, Decimal):
        value = str(value)
    if isinstance(value, str):
        value = bare(value)
        number = _POINT.fullmatch(value) if "." in value else None
        if number is None:
            return value
        value = f"{number[1]}.{number[2]}".rstrip(".")
        return "0" if value == "-0" else value
    if isinstance(value, float):
        if math.isinf(value):
            raise DataError(f"{where}: '{name}' is {value}, which is no label")
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, list | tuple):
        raise DataError(
            f"{where}: '{name}' is a list, expected text or a number; if rows have several labels, say so"
            " with --multi-label ([data] multi_label)"
        )
    if isinstance(value, date | time):
        raise DataError(f"{where}: '{name}' is a {_kind(value)}; if dates are the labels, write them as text")
    part = f"; name a part of it, as {name}.{_first(value)}" if _first(value) is not None else ""
    raise DataError(f"{where}: '{name}' is a {_kind(value)}, expected text or a number{part}")


def labels_of(where: str, name: str, value: Any) -> tuple[str, ...] | str:
    """The labels of a row that may have several or none: a list, or text that writes one in JSON or Python.
    Other text is given back as it is: where to cut it, the whole column says (`labels.cut_labels`).
    """
    if is_missing(value):
        raise DataError(f"{where} has no value for '{name}'; an empty list says that a row has no label")
    value = _decoded(where, name, value)
    if isinstance(value, str):
        value = _listed(value)
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        value = [value]
    if any(isinstance(part, list | tuple) for part in value):
        raise DataError(f"{where}: '{name}' has lists within its list; a row's labels are one list")
    found = [label_of(where, name, part) for part in value]
    for label in found:
        if SEPARATOR in label:
            raise DataError(
                f"{where}: the label '{label}' in '{name}' holds '{SEPARATOR}', which stands between the"
                " labels of a row; write it otherwise"
            )
    return tuple(sorted(set(found)))


def mark_of(where: str, name: str, value: Any) -> bool:
    """Whether a row has the label after which a column of zeros and ones is called."""
    value = bare(_decoded(where, name, value)) if isinstance(value, str | bytes) else value
    if is_missing(value) or value == "":
        raise DataError(f"{where} has no value for '{name}'; a label's own column holds 0 or 1")
    found = _MARKS.get(str(value).casefold())
    if found is None:
        raise DataError(f"{where}: '{name}' is {value!r}; a label's own column holds 0 or 1")
    return found


def _listed(text: str) -> Sequence[Any] | str:
    text = text.strip()
    if text.startswith("["):
        for read in (json.loads, ast.literal_eval):
            try:
                return list(read(text))
            except (ValueError, SyntaxError, TypeError):
                continue
    return text


def _decoded(where: str, name: str, value: Any) -> Any:
    """Parquet files that do not say that their bytes are text hold text all the same."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{where}: '{name}' holds bytes that are no UTF-8 text; write text there") from None


def _first(value: Any) -> Any:
    """The name of a part: the first key, or 0."""
    if isinstance(value, dict):
        return next(iter(value), None)
    return 0 if isinstance(value, list | tuple) and value else None


def _start(text: str) -> str:
    return json.dumps(text if len(text) <= 20 else f"{text[:20]}...", ensure_ascii=False)


def _kind(value: Any) -> str:
    return type(value).__name__
