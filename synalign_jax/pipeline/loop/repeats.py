"""Texts that say the same over and over, beside what the real rows of their label do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .kind import WORD, ends_as_a_sentence, sentence_ends, words_of

AGAIN = "says the same again and again"
CIRCLES = "goes in circles of few words"
HARPS = "comes back to one word again and again"
_WINDOW = 80  # words among which repetitions are counted
_FEW = 16  # words below which they say nothing
_ENOUGH = 20  # real rows of a label from which they speak for themselves
_QUANTILE = 0.98
_SLACK = 0.05
_WINDOWS = (16, 48, 96)  # words among which different ones are counted
_HARPED = (8, 16, 32)  # words among which one comes back
_FEWEST = 3  # real rows of a label that are as long as a window, from which they speak for themselves
_POOREST = 0.02  # of real rows, which may be poorer in words than a new row
_POOREST_SLACK = 0.2  # divided by the number of real rows
_SOUND = 0.1  # of real rows, which may be poorer than a beginning that is kept of a row in circles
_STEP = 4  # words by which a beginning is tried shorter

Words = Sequence[str]
Measure = Callable[[Words, int], float | None]


@dataclass(frozen=True)
class Repeats:
    """How much the real rows of each label say again. Make one with `learn_repeats`.

    By label, because some real texts are lists of figures and others never repeat three words.

    Attributes:
        most: by label, the share of words said again.
        fewest, least: by label and length of a window, the share of different words that a row has there at
            least; and how little, as a negative number, it comes back to one word.
        sound, steady: the same for the beginning of a row that goes in circles.
        sentences: whether most real rows end as sentences do.
        rarity: of words among the real rows.
    """

    most: Mapping[str, float]
    fewest: Mapping[str, Mapping[int, float]]
    sound: Mapping[str, Mapping[int, float]]
    least: Mapping[str, Mapping[int, float]]
    steady: Mapping[str, Mapping[int, float]]
    sentences: bool
    rarity: Rarity

    def verdict(self, text: str, label: str) -> str | None:
        """Why the text is none of its label's, or None."""
        return self._verdict(words_of(text), label, self.fewest[label], self.least[label])

    def beginning(self, text: str, label: str) -> tuple[str, str | None]:
        """A text that goes in circles, as far as it does not, and why that is none of its label's, or None.

        It is the whole text where less than 16 words of it, or no whole sentence where real rows have such,
        would be left.
        """
        words = words_of(text)
        why = self._verdict(words, label, self.fewest[label], self.least[label])
        if why is None:
            return text, None
        shorter = self._sound_part(text, words, label)
        return shorter, why if shorter == text else self.verdict(shorter, label)

    def _sound_part(self, text: str, words: Words, label: str) -> str:
        places = [match.span() for match in WORD.finditer(text)]
        for count in range(len(words) - _STEP, _FEW - 1, -_STEP):
            if self._verdict(words[:count], label, self.sound[label], self.steady[label]) is not None:
                continue
            end = places[count - 1][1]
            if not self.sentences:
                return text[:end]
            whole = [place for place in sentence_ends(text) if place <= end + 2]
            least = places[_FEW - 1][1]
            return text[: whole[-1]] if whole and whole[-1] >= least else text
        return text

    def _verdict(
        self, words: Words, label: str, fewest: Mapping[int, float], least: Mapping[int, float]
    ) -> str | None:
        if _again(words) > self.most[label]:
            return AGAIN
        if _poorer(words, fewest, _different):
            return CIRCLES
        return HARPS if _poorer(words, least, self.rarity.harping) else None


class Rarity:
    """How rare words are among texts, from 0 (in all of them) on; an unknown one is as rare as the rarest."""

    def __init__(self, texts: Sequence[Words]) -> None:
        self._texts = len(texts)
        self._in = Counter(word for words in texts for word in set(words))

    def of(self, word: str) -> float:
        """Inverse document frequency (Sparck Jones, J. Documentation 1972), as a share of the largest."""
        return 1.0 - math.log1p(max(self._in[word], 1)) / math.log1p(self._texts)

    def harping(self, words: Words, size: int) -> float | None:
        """Less the share of a window that one word takes beyond its first place, times its rarity, in the
        window where that is most; None for texts that are shorter.

        Articles come back in every text. A word of which the real rows have few comes back where a small
        model cannot leave it.
        """
        if len(words) < size:
            return None
        worst = 0.0
        for window in _windows(words, size):
            # Letters by themselves are initials, as of the U.S.
            counts = ((word, n) for word, n in Counter(window).items() if n > 1 and len(word) > 1)
            again = (((n - 1) / size, word) for word, n in counts)
            worst = max(worst, *(share * self.of(word) for share, word in again), 0.0)
        return -worst


def learn_repeats(texts: Sequence[str], labels: Sequence[str]) -> Repeats:
    """From the real `texts`; up to one in fifty of a label may say more again, or be poorer in words.

    A label of few rows may do at least what all but a tenth of all rows do.
    """
    of_text = [words_of(text) for text in texts]
    again, of_label = np.array([_again(words) for words in of_text]), np.asarray(labels)
    usual = float(np.quantile(again, 0.9))
    most = {}
    for label in sorted(set(labels)):
        own = again[of_label == label]
        least = 0.0 if len(own) >= _ENOUGH else usual
        most[label] = max(float(np.quantile(own, _QUANTILE)), least) + _SLACK
    rarity = Rarity(of_text)
    # One word more is no circle. To be harped on a word has to be rare besides: a quarter is let go.
    fewest, sound = _learnt(of_text, of_label, _WINDOWS, _different, slack=1.0)
    least, steady = _learnt(of_text, of_label, _HARPED, rarity.harping, slack=0.25)
    whole = [ends_as_a_sentence(text) for text in texts]
    return Repeats(most, fewest, sound, least, steady, bool(np.mean(whole) >= 0.5), rarity)


def _learnt(
    texts: Sequence[Words], labels: np.ndarray, sizes: Sequence[int], measure: Measure, slack: float
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """By label and size, what nearly all texts reach, less `slack` words; and what nine of ten do."""
    names = sorted(set(labels.tolist()))
    fewest: dict[str, dict[int, float]] = {label: {} for label in names}
    sound: dict[str, dict[int, float]] = {label: {} for label in names}
    for size in sizes:
        found = np.array([v if (v := measure(words, size)) is not None else np.nan for words in texts])
        known = ~np.isnan(found)
        for label in names:
            own = found[known & (labels == label)]
            own = own if len(own) >= _FEWEST else found[known]
            if len(own) >= _FEWEST:
                # A few rows span less than those they stand for.
                less = slack / size + _POOREST_SLACK / len(own)
                fewest[label][size] = float(np.quantile(own, _POOREST)) - less
                sound[label][size] = float(np.quantile(own, _SOUND))
    return fewest, sound


def _poorer(words: Words, fewest: Mapping[int, float], measure: Measure) -> bool:
    return any((v := measure(words, size)) is not None and v < least for size, least in fewest.items())


def said_again(text: str) -> float:
    """The share of three words in a row that stood before in the poorest window of the text; 0 for texts too
    short to tell."""
    return _again(words_of(text))


def _again(words: Words) -> float:
    if len(words) < _FEW:
        return 0.0
    triples = list(zip(words, words[1:], words[2:], strict=False))
    size = min(_WINDOW, len(triples))
    return 1.0 - _poorest(triples, size) / size


def _different(words: Words, size: int) -> float | None:
    """The share of different words in the poorest window of so many; None for texts that are shorter."""
    if len(words) < size:
        return None
    return _poorest(words, size) / size


def _poorest(items: Sequence, size: int) -> int:
    """The fewest different items in a window."""
    return len(set(items)) if len(items) == size else min(len(set(some)) for some in _windows(items, size))


def _windows(items: Sequence, size: int) -> list[Sequence]:
    """Half over each other, and the last one to the end."""
    starts = {*range(0, len(items) - size + 1, max(size // 2, 1)), len(items) - size}
    return [items[start : start + size] for start in sorted(starts)]
