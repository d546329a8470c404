"""Texts that say again what an earlier text said, found among a million without comparing all pairs."""

from __future__ import annotations

import itertools
import re
import unicodedata

from rensa import RMinHash, RMinHashLSH  # type: ignore[attr-defined]

_WORD = re.compile(r"\w+")
_HASHES = 64
_RECALL = 0.97  # least chance that a pair just at the threshold is looked at
_SEED = 42


class TextIndex:
    """Finds exact and near repetitions among texts added so far.

    Two texts repeat each other when the Jaccard similarity of their sets of word pairs is at least
    `threshold`, after case, punctuation and width variants are folded. Which earlier texts are looked at is
    decided by MinHash with banding (Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", chapter 3);
    the similarity of those is then computed exactly, so that nothing is taken for a repetition wrongly.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold: {threshold}; it lies between 0 and 1")
        self._threshold = threshold
        self._near = RMinHashLSH(threshold, _HASHES, _bands(threshold))
        self._pairs: list[frozenset[str]] = []
        self._equal: dict[frozenset[str], int] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, text: str) -> None:
        pairs = word_pairs(text)
        number = len(self._pairs)
        self._pairs.append(pairs)
        if self._equal.setdefault(pairs, number) == number:
            self._near.insert(number, _hashed(pairs))

    def find(self, text: str) -> int | None:
        """The number of the most similar earlier text that `text` repeats, or None."""
        pairs = word_pairs(text)
        equal = self._equal.get(pairs)
        if equal is not None:
            return equal
        best, best_similarity = None, self._threshold
        for number in sorted(self._near.query(_hashed(pairs))):
            other = self._pairs[number]
            shared = len(pairs & other)
            similarity = shared / (len(pairs) + len(other) - shared)
            if similarity >= best_similarity and (best is None or similarity > best_similarity):
                best, best_similarity = number, similarity
        return best


def _bands(threshold: float) -> int:
    """As few bands of the hashes, which are as selective, as still find a pair at the threshold."""
    for rows in (16, 8, 4, 2):
        bands = _HASHES // rows
        if 1.0 - (1.0 - threshold**rows) ** bands >= _RECALL:
            return bands
    return _HASHES


def _hashed(pairs: frozenset[str]) -> RMinHash:
    found = RMinHash(_HASHES, _SEED)
    found.update(list(pairs))
    return found


def word_pairs(text: str) -> frozenset[str]:
    """The pairs of neighbouring words, folded; of characters in a script without spaces."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) < 2:
        # A script without spaces, or symbols alone: characters stand in for words.
        words = list(words[0]) if words else list(text.strip())
    return frozenset(f"{a} {b}" for a, b in itertools.pairwise(words)) or frozenset(words[:1] or [""])
