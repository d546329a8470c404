"""Attributes that say something, apart from those that only fill their field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

_WORD = re.compile(r"[^\W\d_]{2,}")
_NO_WORDS = frozenset("the and of to in is it that this these they are was with for not".split()) | frozenset(  # noqa: SIM905
    "none null unknown na string value values phrase short label text texts".split()  # noqa: SIM905
)
# Addresses and names of files: a full stop between letters that is none of an abbreviation.
_ADDRESS = re.compile(r"https?:|www\.|@\w|[^\W\d_]{2,}\.[^\W\d_]{2,}", re.IGNORECASE)
_ASKS = re.compile(r"(?:what|how|why|which|who|please|write|give|list|summari[sz]e)\s", re.IGNORECASE)
_MOST_DIGITS = 0.25  # of the letters and digits
_SAME = 0.6  # share of words in common that makes two phrases one
_FEWEST_CLUSTERS = 4  # below it a value that all clusters share may be what they do share


def telling(values: Mapping[str, str], questions: Mapping[str, str], label: str, task: str) -> dict[str, str]:
    """Those of a cluster's `values` that say something of it, by name.

    A value is left out when it has no word of its own, is an address, a date or a number, asks or orders
    something, repeats its question, its name, the label, the task or another value, or has signs of code in
    it.
    """
    kept: dict[str, str] = {}
    for name, value in values.items():
        words = _words(value) - _NO_WORDS
        asked = [_words(text) for text in (questions.get(name, ""), name.replace("_", " "), label, task)]
        if not words or _ADDRESS.search(value) or set(value) & set('{}[]<>"\\|'):
            continue
        signs = [character for character in value if character.isalnum()]
        if _ASKS.match(value) or sum(map(str.isdigit, signs)) > _MOST_DIGITS * len(signs):
            continue
        if any(words <= other or _alike(words, other) for other in asked):
            continue
        if any(_alike(words, _words(other) - _NO_WORDS) for other in kept.values()):
            continue
        kept[name] = value
    return kept


def without_common(found: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The attributes of all clusters without values that more than half share: they tell none apart."""
    if len(found) < _FEWEST_CLUSTERS:
        return list(found)
    counts = Counter((name, value.casefold()) for values in found for name, value in values.items())
    return [
        {name: value for name, value in values.items() if 2 * counts[name, value.casefold()] <= len(found)}
        for values in found
    ]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _alike(one: set[str], other: set[str]) -> bool:
    return bool(one and other) and len(one & other) >= _SAME * len(one | other)
