"""Texts of words that no real row uses: babble of small models, and other languages in the same script."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .kind import words_of

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NO_LETTER = re.compile(r"[0-9_]")
_FEW = 6  # words below which their share says nothing
_QUANTILE = 0.98
_SLACK = 0.05
_LEAST = 0.4  # a writer of few set phrases may still be paraphrased


@dataclass(frozen=True)
class Wording:
    """The words of the real rows, and how many others a text may have. Make one with `learn_wording`."""

    known: frozenset[str]
    most: float

    def verdict(self, text: str) -> str | None:
        """Why the text is none of them, or None."""
        words = _words(text)
        many = len(words)
        if many < _FEW or (many - sum(map(self.known.__contains__, words))) / many <= self.most:
            return None
        return "hardly a word that a real row has"


def learn_wording(texts: Sequence[str]) -> Wording:
    """From the real `texts`, each beside the words of the others: one in fifty may have more of its own."""
    words = [_words(text) for text in texts]
    counts = Counter(word for of_text in words for word in set(of_text))
    own = [
        float(np.mean([counts[word] == 1 for word in of_text])) if len(of_text) >= _FEW else 0.0
        for of_text in words
    ]
    return Wording(frozenset(counts), max(float(np.quantile(own, _QUANTILE)) + _SLACK, _LEAST))


def _words(text: str) -> Sequence[str]:
    if text.isascii() and _NO_LETTER.search(text) is None:
        return words_of(text)  # the same words, which others have found already
    return [word.casefold() for word in _WORD.findall(text)]
