"""Texts that say the same over and over, beside what the real rows of their label do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\w+(?:['’]\w+)?")
_WINDOW = 80  # words among which repetitions are counted
_FEW = 16  # words below which they say nothing
_ENOUGH = 20  # real rows of a label from which they speak for themselves
_QUANTILE = 0.98
_SLACK = 0.05


@dataclass(frozen=True)
class Repeats:
    """How much the real rows of each label say again. Make one with `learn_repeats`.

    By label, because some real texts are lists of figures and others never repeat three words.
    """

    most: Mapping[str, float]

    def verdict(self, text: str, label: str) -> str | None:
        """Why the text is none of its label's, or None."""
        return "says the same again and again" if said_again(text) > self.most[label] else None


def learn_repeats(texts: Sequence[str], labels: Sequence[str]) -> Repeats:
    """From the real `texts`; up to one in fifty of a label may say more again.

    A label of few rows may do at least what all but a tenth of all rows do.
    """
    again, of_label = np.array([said_again(text) for text in texts]), np.asarray(labels)
    usual = float(np.quantile(again, 0.9))
    most = {}
    for label in sorted(set(labels)):
        own = again[of_label == label]
        least = 0.0 if len(own) >= _ENOUGH else usual
        most[label] = max(float(np.quantile(own, _QUANTILE)), least) + _SLACK
    return Repeats(most)


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
