"""Texts that say the same over and over, which single ranges of single words do not show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_WINDOW = 80  # words among which repetitions are counted
_FEW = 16  # words below which they say nothing
_QUANTILE = 0.98
_SLACK = 0.05


@dataclass(frozen=True)
class Repeats:
    """How much of the real rows is said again within them. Make one with `learn_repeats`."""

    most: float

    def verdict(self, text: str) -> str | None:
        """Why the text is none of them, or None."""
        return "says the same again and again" if said_again(text) > self.most else None


def learn_repeats(texts: Sequence[str]) -> Repeats:
    """From the real `texts`; of these up to one in fifty may say more again."""
    return Repeats(float(np.quantile([said_again(text) for text in texts], _QUANTILE)) + _SLACK)


def said_again(text: str) -> float:
    """The share of three words in a row that stood before in the poorest window of the text; 0 for texts too
    short to tell."""
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(words) < _FEW:
        return 0.0
    triples = list(zip(words, words[1:], words[2:], strict=False))
    size = min(_WINDOW, len(triples))
    starts = {*range(0, len(triples) - size + 1, size // 2), len(triples) - size}
    return max(1.0 - len(set(triples[start : start + size])) / size for start in starts)
