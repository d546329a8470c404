"""Which columns make a row's text, its label and its vector."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .errors import DataError, listed
from .formats.chat import CHATS, is_chat, roles_of
from .values import labels_of, mark_of, text_of

_FIELD = re.compile(r"\{([^{}]+)\}")

# Layouts that many data sets share, tried in this order where there is no column "text".
_LAYOUTS = (
    *((name,) for name in CHATS),
    ("instruction", "input?", "output"),
    ("instruction", "output"),
    ("instruction", "input?", "response"),
    ("instruction", "response"),
    ("prompt", "chosen", "rejected"),
    ("chosen", "rejected"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "positive", "negative"),
    ("anchor", "positive", "negative"),
    ("query", "passage"),
    ("query", "positive"),
    ("anchor", "positive"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
)

_PAIRS = {
    ("instruction", "output"): "instruction-answer",
    ("instruction", "response"): "instruction-answer",
    ("sentence1", "sentence2"): "sentence",
    ("chosen", "rejected"): "preference",
    ("prompt", "chosen", "rejected"): "preference",
}
_ASKED = {"instruction", "prompt", "chosen"}  # fields of what language models learn from
_SOUGHT = {"query", "anchor", "passage"}  # fields of what retrievers learn from


class Nature(NamedTuple):
    """What rows are called, and what learns from them: words for prompts and pages."""

    rows: str = "texts"
    learner: str = "model"


def nature_of(fields: Iterable[str], chats: Iterable[str] = ()) -> Nature:
    """
    Args:
        fields: the columns that make a row's text; none where it is one column.
        chats: those of them that are conversations.
    """
    names = tuple(name for name in dict.fromkeys(fields) if name != "input")
    learner = "language model" if _ASKED & set(names) or set(chats) & set(names) else "model"
    learner = "retriever" if _SOUGHT & set(names) else learner
    if len(names) == 1:
        return Nature("conversations" if set(chats) & set(names) else "texts", learner)
    if names in _PAIRS or len(names) == 2:
        return Nature(f"{_PAIRS.get(names, '-'.join(names))} pairs", learner)
    if set(names) & _SOUGHT and len(names) == 3:
        return Nature(f"{'-'.join(names)} triplets", learner)
    return Nature(f"rows of {', '.join(names[:-1])} and {names[-1]}" if names else "texts", learner)


@dataclass(frozen=True)
class Columns:
    """What the user says of the columns.

    Attributes:
        text: a column, or a template over several such as "{question}\\n{answer}"; a name that ends in
            "?" may be empty in a row.
        label: None reads no labels; with `multi_label` it may be the names of several columns of zeros and
            ones, one a label, with commas between.
        embedding: the vectors.
        named: those of the three that the user typed, and that therefore must be there.
        multi_label: a row may have several labels.
        encoding: of text files; None finds it out.
    """

    text: str = "text"
    label: str | None = "label"
    embedding: str | None = "embedding"
    named: frozenset[str] = frozenset()
    multi_label: bool = False
    encoding: str | None = None

    @property
    def wanted(self) -> set[str]:
        """Every name that may be looked at."""
        names = {name for name in (self.text, self.label, self.embedding) if name}
        names |= set(marks_of(self))
        names |= set(Template(self.text).fields) | {n.rstrip("?") for layout in _LAYOUTS for n in layout}
        return names | {name.partition(".")[0] for name in names}


def cell(row: Mapping[str, Any], name: str) -> Any:
    """What a row has under a name; "answers.text.0" goes into dictionaries and lists where no column is so
    called.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


class Template:
    """A text made of a row's columns. Lines of nothing but empty columns are left out.

    Args:
        source: a column's name, or words with names in braces; "\\n" typed as two characters is a line end.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.parts: tuple[tuple[str, bool], ...] = tuple(
            (name.rstrip("?"), name.endswith("?")) for name in _FIELD.findall(source)
        )
        self.lines = source.replace("\\n", "\n").split("\n")

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.parts))

    def values(self, row: Mapping[str, Any], where: str) -> dict[str, str]:
        """The text of each field. Raises DataError as `render` does."""
        optional = dict(self.parts)
        return {n: text_of(where, n, cell(row, n), optional=optional[n]) for n in self.fields}

    def render(self, row: Mapping[str, Any], where: str) -> str:
        """
        Raises:
            DataError: a column without a value, unless its name ends in "?" here.
        """
        values = self.values(row, where)
        lines = []
        for line in self.lines:
            names = [name.rstrip("?") for name in _FIELD.findall(line)]
            if names and not _FIELD.sub("", line).strip() and not any(values[name].strip() for name in names):
                continue
            lines.append(_FIELD.sub(lambda match: values[match.group(1).rstrip("?")], line))
        text = "\n".join(lines)
        return text if any(value.strip() for value in values.values()) else ""


@dataclass(frozen=True)
class Found:
    """The columns of a file, as they are.

    Attributes:
        text: a column's name; None where `template` makes the text, or where there is none.
        template: over `fields`.
        used: the columns of the file that these are read from.
        marks: columns of zeros and ones, of which each says whether a row has the label of its name; `label`
            names them all then.
    """

    text: str | None
    template: Template | None
    label: str | None
    embedding: str | None
    said: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def own(self) -> set[str | None]:
        """Columns that are text, label or vector and nothing else."""
        own = {self.text, self.label, self.embedding, *self.marks}
        return own - set(self.template.fields if self.template else ())

    def labels_in(self, row: Mapping[str, Any], where: str) -> tuple[str, ...] | str:
        """What a row that may have several labels has of them; see `values.labels_of`."""
        if self.marks:
            return tuple(sorted(name for name in self.marks if mark_of(where, name, cell(row, name))))
        assert self.label is not None
        return labels_of(where, self.label, cell(row, self.label))

    def look_for_chats(self, row: Mapping[str, Any], found: dict[str, dict[str, None]]) -> None:
        """Add the row's conversations to what was `found`: column to the roles that speak there."""
        for name in self.template.fields if self.template is not None else (self.text,):
            if name is not None and is_chat(value := cell(row, name)):
                found.setdefault(name, {}).update(dict.fromkeys(roles_of(value)))

    def text_in(self, row: Mapping[str, Any], where: str) -> str:
        if self.template is not None:
            return self.template.render(row, where)
        assert self.text is not None
        return text_of(where, self.text, row.get(self.text))


def find_columns(name: str, given: Columns, present: Iterable[str], repeated: Iterable[str] = ()) -> Found:
    """
    Args:
        name: of the file, for messages.
        present: the names of all columns.
        repeated: those that the header has twice.

    Raises:
        DataError: a column that the user named, or one of the template's, is not there, or is there twice;
            none of the columns is there.
    """
    present = list(present)
    found = Found(None, None, None, None)
    if given.text in present:
        found = replace(found, text=given.text)
    elif "{" not in given.text and _is_there(given.text, present):
        found = replace(found, template=Template(f"{{{given.text}}}"))
    elif Template(given.text).fields:
        for column in Template(given.text).fields:
            _require(name, column, present)
        found = replace(found, template=Template(given.text))
    elif "text" in given.named:
        _require(name, given.text, present)
    else:
        layout = next((some for some in _LAYOUTS if _fits(some, present)), None)
        if layout is not None:
            template = Template("\n".join(f"{{{part}}}" for part in layout))
            found = replace(
                found,
                template=template,
                said=(f"{name}: no column '{given.text}'; the text is made of {listed(template.fields)}",),
            )
    if given.label is not None:
        marks = marks_of(given) if given.label not in present else ()
        if marks:
            for column in marks:
                _require(name, column, present)
            found = replace(found, label=given.label, marks=marks)
        elif _is_there(given.label, present):
            found = replace(found, label=given.label)
        elif "label" in given.named:
            otherwise = ', or say that there are none (--no-labels, [data] label = "")'
            if "," in given.label:
                otherwise = "; where each label has a column, say so with --multi-label ([data] multi_label)"
            _require(name, given.label, present, otherwise)
    if given.embedding is not None:
        if given.embedding in present:
            found = replace(found, embedding=given.embedding)
        elif "embedding" in given.named:
            _require(name, given.embedding, present)
    labels = found.marks or (found.label,)
    names = [*(found.template.fields if found.template else ()), found.text, *labels, found.embedding]
    used = [name if name in present else name.partition(".")[0] for name in names if name is not None]
    found = replace(found, used=tuple(dict.fromkeys(used)))
    twice = sorted(set(repeated) & set(found.used))
    if twice:
        raise DataError(f"{name}: the header names {listed(twice)} twice; which one is meant cannot be told")
    if not found.used:
        wanted = [column for column in (given.text, given.label, given.embedding) if column]
        close = closest(given.text, present)
        raise DataError(
            f"{name}: none of the columns {listed(wanted)}; the columns are {listed(present)}:"
            " name the text's with --text, or several as in --text '{question}\\n{answer}'"
            + (f". Is '{close}' the text? Then give --text {close!r}" if close else "")
        )
    return found


def marks_of(given: Columns) -> tuple[str, ...]:
    """The columns that are a label each, where that is how labels are given."""
    if not given.multi_label or given.label is None or "," not in given.label:
        return ()
    return tuple(dict.fromkeys(name.strip() for name in given.label.split(",") if name.strip()))


def _fits(layout: tuple[str, ...], present: list[str]) -> bool:
    return all(part.rstrip("?") in present for part in layout)


def _is_there(column: str, present: list[str]) -> bool:
    return column in present or ("." in column and column.partition(".")[0] in present)


def _require(name: str, column: str, present: list[str], otherwise: str = "") -> None:
    if not _is_there(column, present):
        close = closest(column, present)
        hint = f"; did you mean '{close}'?" if close else f": name the right one{otherwise}"
        raise DataError(f"{name}: no column '{column}'; the columns are {listed(present)}{hint}")


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is likely meant."""
    folded = {name.strip().casefold(): name for name in known}
    close = difflib.get_close_matches(word.strip().casefold(), list(folded), 1, 0.75)
    return folded[close[0]] if close else None
