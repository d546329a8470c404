"""Texts that say the same over and over, beside what the real rows of their label do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .kind import ends_as_a_sentence, sentence_ends

AGAIN = "says the same again and again"
CIRCLES = "goes in circles of few words"
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_WINDOW = 80  # words among which repetitions are counted
_FEW = 16  # words below which they say nothing
_ENOUGH = 20  # real rows of a label from which they speak for themselves
_QUANTILE = 0.98
_SLACK = 0.05
_WINDOWS = (16, 48, 96)  # words among which different ones are counted
_FEWEST = 3  # real rows of a label that are as long as a window, from which they speak for themselves
_POOREST = 0.02  # of real rows, which may be poorer in words than a new row
_POOREST_SLACK = 0.2  # divided by the number of real rows
_SOUND = 0.1  # of real rows, which may be poorer than a beginning that is kept of a row in circles
_STEP = 4  # words by which a beginning is tried shorter


@dataclass(frozen=True)
class Repeats:
    """How much the real rows of each label say again. Make one with `learn_repeats`.

    By label, because some real texts are lists of figures and others never repeat three words.

    Attributes:
        most: by label, the share of words said again.
        fewest: by label, the share of different words in a window of so many that a row has at least.
        sound: the same for the beginning of a row that goes in circles.
        sentences: whether most real rows end as sentences do.
    """

    most: Mapping[str, float]
    fewest: Mapping[str, Mapping[int, float]]
    sound: Mapping[str, Mapping[int, float]]
    sentences: bool

    def verdict(self, text: str, label: str) -> str | None:
        """Why the text is none of its label's, or None."""
        return self._verdict(_words(text), label, self.fewest[label])

    def beginning(self, text: str, label: str) -> str:
        """A text that goes in circles, as far as it does not; the whole text where less than 16 words of it,
        or no whole sentence where real rows have such, would be left.
        """
        places = [match.span() for match in _WORD.finditer(text)]
        words = _words(text)
        if self._verdict(words, label, self.fewest[label]) is None:
            return text
        for count in range(len(words) - _STEP, _FEW - 1, -_STEP):
            if self._verdict(words[:count], label, self.sound[label]) is not None:
                continue
            end = places[count - 1][1]
            if not self.sentences:
                return text[:end]
            whole = [place for place in sentence_ends(text) if place <= end + 2]
            least = places[_FEW - 1][1]
            return text[: whole[-1]] if whole and whole[-1] >= least else text
        return text

    def _verdict(self, words: Sequence[str], label: str, fewest: Mapping[int, float]) -> str | None:
        if _again(words) > self.most[label]:
            return AGAIN
        poorest = ((_different(words, size), least) for size, least in fewest.items())
        return CIRCLES if any(share is not None and share < least for share, least in poorest) else None


def learn_repeats(texts: Sequence[str], labels: Sequence[str]) -> Repeats:
    """From the real `texts`; up to one in fifty of a label may say more again, or be poorer in words.

    A label of few rows may do at least what all but a tenth of all rows do.
    """
    of_text = [_words(text) for text in texts]
    again, of_label = np.array([_again(words) for words in of_text]), np.asarray(labels)
    usual = float(np.quantile(again, 0.9))
    most = {}
    for label in sorted(set(labels)):
        own = again[of_label == label]
        least = 0.0 if len(own) >= _ENOUGH else usual
        most[label] = max(float(np.quantile(own, _QUANTILE)), least) + _SLACK
    fewest: dict[str, dict[int, float]] = {label: {} for label in most}
    sound: dict[str, dict[int, float]] = {label: {} for label in most}
    for size in _WINDOWS:
        shares = np.array([share if (share := _different(w, size)) is not None else np.nan for w in of_text])
        known = ~np.isnan(shares)
        for label in most:
            own = shares[known & (of_label == label)]
            own = own if len(own) >= _FEWEST else shares[known]
            if len(own) >= _FEWEST:
                # One word more is no circle, and a few rows span less than those they stand for.
                slack = 1.0 / size + _POOREST_SLACK / len(own)
                fewest[label][size] = float(np.quantile(own, _POOREST)) - slack
                sound[label][size] = float(np.quantile(own, _SOUND))
    whole = [ends_as_a_sentence(text) for text in texts]
    return Repeats(most, fewest, sound, bool(np.mean(whole) >= 0.5))


def said_again(text: str) -> float:
    """The share of three words in a row that stood before in the poorest window of the text; 0 for texts too
    short to tell."""
    return _again(_words(text))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _again(words: Sequence[str]) -> float:
    if len(words) < _FEW:
        return 0.0
    triples = list(zip(words, words[1:], words[2:], strict=False))
    size = min(_WINDOW, len(triples))
    return max(1.0 - len(set(window)) / size for window in _windows(triples, size))


def _different(words: Sequence[str], size: int) -> float | None:
    """The share of different words in the poorest window of so many; None for texts that are shorter."""
    if len(words) < size:
        return None
    return min(len(set(window)) for window in _windows(words, size)) / size


def _windows(items: Sequence, size: int) -> list[Sequence]:
    """Half over each other, and the last one to the end."""
    starts = {*range(0, len(items) - size + 1, max(size // 2, 1)), len(items) - size}
    return [items[start : start + size] for start in sorted(starts)]
