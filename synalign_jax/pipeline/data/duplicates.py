"""Texts that say again what an earlier text said."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"\w+")


class TextIndex:
    """Finds exact and near repetitions among texts added so far.

    Two texts repeat each other when the Jaccard similarity of their sets of word pairs is at least
    `threshold`, after case, punctuation and width variants are folded. An inverted index keeps a look-up to
    the texts that share a word pair with the new one.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, text: str) -> None:
        number = len(self._sizes)
        pairs = _pairs(text)
        self._sizes.append(len(pairs))
        for pair in pairs:
            self._holders.setdefault(pair, []).append(number)

    def find(self, text: str) -> int | None:
        """The number of the most similar earlier text that `text` repeats, or None."""
        pairs = _pairs(text)
        shared: Counter[int] = Counter()
        for pair in pairs:
            shared.update(self._holders.get(pair, ()))
        best, best_similarity = None, self._threshold
        for number, count in shared.items():
            similarity = count / (len(pairs) + self._sizes[number] - count)
            if similarity >= best_similarity and (best is None or similarity > best_similarity):
                best, best_similarity = number, similarity
        return best


def _pairs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) < 2:
        # A script without spaces, or symbols alone: characters stand in for words.
        words = list(words[0]) if words else list(text.strip())
    return set(itertools.pairwise(words)) or {tuple(words)}
