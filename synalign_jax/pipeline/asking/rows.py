"""Rows of several fields: as they are asked for, shown, read back, and what may be wrong with them."""

from __future__ import annotations

import functools
import itertools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synalign_jax.pipeline.data.fields import Fields
from synalign_jax.pipeline.data.formats.chat import chat_text

from .conversations import INDENT, Turns
from .forms import BULLET

_INDENT = "  "
_KEY = "rows"
_LENGTHS = (20, 4_000)  # characters that a field may have


class FieldRows:
    """The fields of the rows, and what the real rows have in them.

    Args:
        fields: at least one.
        real: the values of each real row.
    """

    def __init__(self, fields: Fields, real: Sequence[Mapping[str, str]]) -> None:
        self.fields, self.real = fields, real

    @functools.cached_property
    def longest(self) -> dict[str, int]:
        """Characters that each field may have."""
        return {
            name: int(np.clip(1.25 * np.quantile([len(row[name]) for row in self.real], 0.95), *_LENGTHS))
            for name in self.fields.names
        }

    @functools.cached_property
    def chats(self) -> dict[str, Turns]:
        """How conversations go in the fields that are such."""
        return {
            field.name: Turns(field.roles, [field.turns(row[field.name]) or [] for row in self.real])
            for field in self.fields.fields
            if field.roles
        }

    # -- as JSON in a chat ---------------------------------------------------------------------------------

    def schema(self, longest: Mapping[str, int], fewest: int, most: int) -> dict[str, Any]:
        """The JSON schema of `fewest` to `most` rows."""
        item = {
            "type": "object",
            "properties": {
                field.name: self.chats[field.name].schema()
                if field.roles
                else {
                    "type": "string",
                    "minLength": 0 if field.optional else 1,
                    "maxLength": longest[field.name],
                }
                for field in self.fields.fields
            },
            "required": self.fields.names,
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "properties": {_KEY: {"type": "array", "items": item, "minItems": fewest, "maxItems": most}},
            "required": [_KEY],
            "additionalProperties": False,
        }

    def example(self, rows: Sequence[Mapping[str, str]]) -> str:
        """Rows as an answer."""
        shown = [
            {field.name: field.turns(row[field.name]) or row[field.name] for field in self.fields.fields}
            for row in rows
        ]
        return json.dumps({_KEY: shown}, ensure_ascii=False)

    def of_answer(self, value: Mapping[str, Any]) -> list[dict[str, str]]:
        return [
            {name: self._bare(name, _as_text(row[name])) for name in self.fields.names} for row in value[_KEY]
        ]

    # -- as a list that a text goes on with ----------------------------------------------------------------

    def item(self, values: Mapping[str, str]) -> str:
        """A row as an item of a list, a field or a turn a line; without the bullet."""
        lines = []
        for field in self.fields.fields:
            if (turns := field.turns(values[field.name])) is None:
                lines.append(f"{field.name}: {' '.join(values[field.name].split())}".rstrip())
                continue
            lines.append(f"{field.name}:")
            lines += [f"{_INDENT}{turn['role']}: {' '.join(turn['content'].split())}" for turn in turns]
        return f"\n{_INDENT}".join(lines)

    def grammar(self, longest: Mapping[str, int], count: int) -> str:
        """GBNF of a list of `count` rows whose first bullet and name are written."""
        first, *others = self.fields.fields
        rest = "".join(f" {_quoted(f'{_INDENT}{field.name}:')} f{n}" for n, field in enumerate(others, 1))
        more = f" ({_quoted(f'{BULLET}{first.name}:')} row){{{count - 1}}}" if count > 1 else ""
        rules = [f"root ::= row{more}", f"row ::= f0{rest}"]
        for number, field in enumerate(self.fields.fields):
            if field.roles:
                rules += self.chats[field.name].grammar(f"f{number}")
                continue
            words = rf'" " [^ \n\r\t] [^\n\r]{{0,{longest[field.name] - 1}}}'
            rules.append(f'f{number} ::= {f"({words})?" if field.optional else words} "\\n"')
        return "\n".join(rules)

    def of_list(self, text: str) -> list[dict[str, str]]:
        """The rows of a list that was gone on with; what is no such line ends it. Rows that lack a field are
        left out, and so is the last of an answer that was cut off, unless it is the only one.
        """
        names = self.fields.names
        begin = f"{BULLET}{names[0]}:"
        list_part, end, _ = text.partition("\n\n")
        rows: list[dict[str, str]] = []
        chat = ""
        for line in (begin + list_part).splitlines():
            if chat and line.startswith(INDENT) and not line.startswith(begin):
                rows[-1][chat] = f"{rows[-1][chat]}\n{line.strip()}".strip()
                continue
            name, colon, value = line.removeprefix(BULLET).strip().partition(":")
            if line.startswith(begin):
                rows.append({})
            if not colon or name not in names or name in rows[-1]:
                break
            rows[-1][name] = self._bare(name, " ".join(value.split()))
            chat = name if name in self.chats else ""
        if not (end or text.endswith("\n")) and len(rows) > 1:
            rows.pop()
        return [row for row in rows if list(row) == names]

    # -- what may be wrong ---------------------------------------------------------------------------------

    def fault(self, values: Mapping[str, str]) -> str | None:
        """What is wrong with a row that is so with no real row, or None."""
        for field in self.fields.fields:
            if not field.optional and not values[field.name]:
                return f"the field {field.name} is blank"
            chat = self.chats.get(field.name)
            if chat and values[field.name] and (reason := chat.fault(values[field.name])) is not None:
                return reason
        for pair in self._apart:
            if _same(values, pair):
                return f"the fields {pair[0]} and {pair[1]} say the same"
        return None

    @functools.cached_property
    def _apart(self) -> list[tuple[str, str]]:
        pairs = itertools.combinations(self.fields.names, 2)
        return [pair for pair in pairs if not any(_same(row, pair) for row in self.real)]

    @functools.cached_property
    def _heads(self) -> dict[str, re.Pattern[str]]:
        """What models write before a value: its own name; where real values begin so, it is part of them."""
        heads = {
            name: re.compile(rf"\s*{re.escape(name)}\s*:\s*", re.IGNORECASE) for name in self.fields.names
        }
        return {
            n: head
            for n, head in heads.items()
            if n not in self.chats and not any(head.match(row[n]) for row in self.real)
        }

    def _bare(self, name: str, value: str) -> str:
        head = self._heads.get(name)
        return (head.sub("", value, count=1) if head and head.match(value) else value).strip()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else chat_text(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _same(row: Mapping[str, str], pair: tuple[str, str]) -> bool:
    one, other = (" ".join(unicodedata.normalize("NFKC", row[name]).casefold().split()) for name in pair)
    return one == other != ""
