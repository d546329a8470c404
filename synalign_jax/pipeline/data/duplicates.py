"""Texts that say again what an earlier text said, found among a million without comparing all pairs."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
import zlib
from array import array
from dataclasses import dataclass

from rensa import RMinHash, RMinHashLSH  # type: ignore[attr-defined]

_WORD = re.compile(r"\w+")
_HASHES = 64
_RECALL = 0.97  # least chance that a pair just at the threshold is looked at
_SEED = 42


@dataclass(frozen=True, slots=True)
class Shingled:
    """A text as it is compared: its word pairs by their hashes, and its MinHash."""

    pairs: frozenset[int]
    hashed: RMinHash


def shingled(text: str) -> Shingled:
    """What several indexes compare of one text, made once."""
    pairs = word_pairs(text)
    found = RMinHash(_HASHES, _SEED)
    found.update(list(pairs))
    # Python's own hash of a string is another in every process, and these are compared between them.
    try:
        hashes = frozenset(map(zlib.crc32, map(str.encode, pairs)))
    except UnicodeEncodeError:  # lone surrogates
        hashes = frozenset(zlib.crc32(pair.encode("utf-8", "replace")) for pair in pairs)
    return Shingled(hashes, found)


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
        # Word pairs as hashes in one array: a text's set of strings would take 4 kB.
        self._pairs, self._ends = array("q"), array("q", [0])
        self._equal: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, text: str | Shingled) -> None:
        own = shingled(text) if isinstance(text, str) else text
        number = len(self)
        self._pairs.extend(own.pairs)
        self._ends.append(len(self._pairs))
        if self._equal.setdefault(hash(own.pairs), number) == number:
            self._near.insert(number, own.hashed)

    def find(self, text: str | Shingled) -> int | None:
        """The number of the most similar earlier text that `text` repeats, or None."""
        own = shingled(text) if isinstance(text, str) else text
        pairs = own.pairs
        equal = self._equal.get(hash(pairs))
        if equal is not None and pairs == self._of(equal):
            return equal
        best, best_similarity = None, self._threshold
        size, every, ends = len(pairs), self._pairs, self._ends
        for number in sorted(self._near.query(own.hashed)):
            start, end = ends[number], ends[number + 1]
            few, many = (end - start, size) if end - start < size else (size, end - start)
            # Of sets of other sizes no more than the smaller is shared: most are passed over by that.
            if few / many < best_similarity:
                continue
            shared = len(pairs.intersection(every[start:end]))
            similarity = shared / (few + many - shared)
            if similarity >= best_similarity and (best is None or similarity > best_similarity):
                best, best_similarity = number, similarity
        return best

    def _of(self, number: int) -> frozenset[int]:
        return frozenset(self._pairs[self._ends[number] : self._ends[number + 1]])


def _bands(threshold: float) -> int:
    """As few bands of the hashes, which are as selective, as still find a pair at the threshold."""
    for rows in (16, 8, 4, 2):
        bands = _HASHES // rows
        if 1.0 - (1.0 - threshold**rows) ** bands >= _RECALL:
            return bands
    return _HASHES


def word_pairs(text: str) -> frozenset[str]:
    """The pairs of neighbouring words, folded; of characters in a script without spaces."""
    words = folded_words(text)
    if len(words) < 2:
        # A script without spaces, or symbols alone: characters stand in for words.
        words = tuple(words[0] if words else text.strip())
    return frozenset(map(" ".join, itertools.pairwise(words))) or frozenset(words[:1] or [""])


@functools.lru_cache(maxsize=4)
def folded_words(text: str) -> tuple[str, ...]:
    """The words of a text, case and width variants being folded; several rules look at one text in turn."""
    # Of ASCII there is one form: it need not be sought.
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return tuple(_WORD.findall(folded))
