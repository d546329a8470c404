"""Answers that say again what was asked: the request, its schema, names of attributes, the label."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from synalign_jax.pipeline.data.duplicates import folded_words

# Words of JSON schemas that a text about anything else hardly holds.
_SCHEMA = frozenset(
    (
        "minitems",
        "maxitems",
        "minlength",
        "maxlength",
        "additionalproperties",
        "json",
        "texts",
        "items",
        "properties",
    )
)
# What models write before a row that is asked for by its label.
_HEADS = (
    "label",
    "text",
    "texts",
    "type",
    "answer",
    "output",
    "example",
    "item",
    "review",
    "sentence",
    "title",
)
_ECHOED = 0.6  # share of a text's word pairs that the request holds
_FEWEST_PAIRS = 3


class Echoes:
    """What a row may not be made of. Words that the real rows use in that way are theirs to use."""

    def __init__(
        self, requests: Sequence[str], names: Sequence[str], labels: Sequence[str], real: Sequence[str]
    ) -> None:
        """From what is asked (without real rows in it), names of attributes, labels and real texts."""
        self._asked = frozenset(pair for request in requests for pair in _pairs(request))
        self._schema = _SCHEMA - set(itertools.chain.from_iterable(map(folded_words, real)))
        self._empty = frozenset(itertools.chain(_HEADS, _SCHEMA, *map(folded_words, [*names, *labels])))
        heads = {head.casefold() for head in [*_HEADS, *names, *labels] if head}
        free = [head for head in heads if not any(_headed(text, head) for text in real)]
        longest_first = "|".join(re.escape(head) for head in sorted(free, key=len, reverse=True))
        self._head = re.compile(
            rf"^[\W_]*(?:{longest_first})(?:\s*#?\d{{1,3}})?['\"]?\s*[:=]\s*" if free else r"(?!)",
            re.IGNORECASE,
        )

    def strip(self, text: str) -> str:
        """The text without a leading "label:" (or "Review 3:"), which would give the label away."""
        while head := self._head.match(text):
            text = text[head.end() :].strip().strip('"').strip()
        return text

    def verdict(self, text: str) -> str | None:
        """What the text echoes, whatever was asked for, or None."""
        words = folded_words(text)
        if words and all(word in self._empty or word.isdigit() for word in words):
            return "says a label or field name alone"
        if len(words) < 12 and not self._schema.isdisjoint(words):
            return "echoes the schema"
        pairs = _pairs(text)
        if len(pairs) >= _FEWEST_PAIRS and len(pairs & self._asked) >= _ECHOED * len(pairs):
            return "echoes the request"
        return None

    def of_attributes(self, text: str, attributes: Iterable[str]) -> str | None:
        """Whether the text echoes one of the attributes that it was asked for with."""
        pairs = _pairs(text)
        if len(pairs) < _FEWEST_PAIRS:
            return None
        for value in attributes:
            told = _told(value)
            # As many pairs at most are shared as the smaller set has.
            most = min(len(pairs), len(told))
            if most >= _ECHOED * max(len(pairs), len(told)) and len(pairs & told) >= _ECHOED * len(
                pairs | told
            ):
                return "echoes its attributes"
        return None


def _headed(text: str, head: str) -> bool:
    return bool(re.match(rf"^[\W_]*{re.escape(head)}\s*[:=]", text, re.IGNORECASE))


@lru_cache(maxsize=4_096)
def _told(attribute: str) -> frozenset[tuple[str, str]]:
    """The pairs of an attribute, which many rows share."""
    return _pairs(attribute)


@lru_cache(maxsize=4)
def _pairs(text: str) -> frozenset[tuple[str, str]]:
    return frozenset(itertools.pairwise(folded_words(text)))
