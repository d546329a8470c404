"""The forms of asking: JSON in a chat, or a list that the model goes on with (small and base models), if need
be at a lower temperature.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from synalign_jax.pipeline.config import Config

JSON = "json"
LIST = "list"
CALM = "calm list"
LISTS = (LIST, CALM)
FORMS = (JSON, *LISTS)
CALM_TEMPERATURE = 0.7

BULLET = "- "
# Models number their rows though nobody asked; the number is not part of the text.
_ENUMERATION = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•–])\s+")
_VALUE_CHARACTERS = 80


# Small models go round in circles: what repeats a sequence of tokens, the demonstrations' included, is made
# less likely (the DRY sampler of llama.cpp at its author's strength).
_NO_CIRCLES = {"dry_multiplier": 0.8, "dry_penalty_last_n": 1024}


def extra(config: Config, grammar: str) -> dict[str, Any]:
    """The grammar as a field of the request, for the kind of server that is sure to know it."""
    return {"grammar": grammar, **_NO_CIRCLES} if config.llm.kind == "llamacpp" else {}


def temperature(config: Config, form: str) -> float:
    """That of [llm]; in a calm list no more than a small model keeps its words together at."""
    own = config.llm.temperature
    return min(own, CALM_TEMPERATURE) if form == CALM else own


def list_grammar(count: int, fewest: int, most: int) -> str:
    """GBNF of a list whose first bullet is written: `count` items of `fewest` to `most` characters."""
    more = f' ("{BULLET}" line){{{count - 1}}}' if count > 1 else ""
    line = rf'[^ \n\r\t] [^\n\r]{{{max(fewest - 1, 1)},{most - 1}}} "\n"'
    return f'root ::= " " line{more}\nline ::= {line}'


def values_grammar(names: Iterable[str]) -> str:
    """GBNF of one line a name, the first name being written already: a short phrase without brackets."""
    _, *others = names
    rest = " ".join(f'"{name}: " value' for name in others)
    signs = r'[^\n\r:{}<>/"]'
    first = r'[^ \n\r:{}<>/"]'
    return f'root ::= " " value {rest}\nvalue ::= {first} {signs}{{2,{_VALUE_CHARACTERS}}} "\\n"'


def list_items(text: str) -> list[str]:
    """The items of a list that was gone on with; a blank line ends it, as does what is no item.

    Of an answer that was cut off the last line is not whole and left out, unless it is the only one.
    """
    lines = text.split("\n\n", 1)[0].splitlines()
    if len(lines) > 1 and not text.endswith("\n") and "\n\n" not in text:
        lines.pop()
    items = [lines[0]] if lines else []
    for line in lines[1:]:
        if not _ENUMERATION.match(line):
            break
        items.append(line)
    return [item for item in map(plain, items) if item]


def line_values(text: str, names: Iterable[str]) -> dict[str, str]:
    """The values of lines "name: value", the first name not repeated."""
    first, *others = names
    lines = text.strip().splitlines()
    found = {first: lines[0]} if lines else {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon and name.strip() in others:
            found.setdefault(name.strip(), value)
    return {name: " ".join(value.split()) for name, value in found.items()}


def plain(text: str) -> str:
    """One line without the number or bullet before it."""
    return " ".join(_ENUMERATION.sub("", text).split())
