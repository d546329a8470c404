"""What the real rows are like on their face: length, script, make-up. A row unlike all of them is no row."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WORD = re.compile(r"\w+(?:['’]\w+)?")
# Marks of another kind of text: code, markup, addresses, the traces of a template.
_MARKS = (
    "http", "www.", "</", "/>", "<br", "```", "**", "##", "\\n", "\\u", "{{", "}}", "[[", "]]", "@", "://",
    "__", "��", "<|", "|>",
)  # fmt: skip
_MARK_SIGN = re.compile(r"[</>`*#\\{}\[\]@:_\ufffd|]")  # every mark but the first two holds one
_ENDS = ".!?…。！？।؟"
_AFTER = "\"'”’)]} "  # what may follow the end of a sentence
# An initial, an abbreviation or a number before a full stop does not end a sentence.
_SENTENCE_END = re.compile(r"(?<=\w\w\w)['\")\]”’]*\s?[.!?…]+['\")\]”’]*(?=\s)|[。！？।؟]")
_LENGTH_SLACK = 1.5  # times the longest real row, and its inverse times the shortest
_SHARE_SLACK = 0.05
_FOREIGN = 0.1  # share of letters in scripts that no real row uses
_WINDOW = 50  # words among which repetitions are counted
_FEW = 8  # words below which repetitions say nothing
_LONGEST_RUN = 8  # words that are said again together
_WORD_SLACK = 1.5  # times the longest word of the real rows
# Three letters or more that a word says three times, not all the same: 15 of 110,000 real texts do, laughing.
_SYLLABLES = re.compile(r"((?!(\w)\2\2)[^\W\d_]{3,8})\1\1")
_LONG_WORD = 20  # characters that any word may have


@dataclass(frozen=True)
class Kind:
    """The ranges that the real rows span, each widened by some slack. Make one with `learn_kind`.

    `verdict` names what is unlike in a text. No rule ever refuses one of the texts that it was learnt from.
    """

    characters: tuple[float, float]
    fewest_words: int
    scripts: frozenset[str]
    shares: dict[str, tuple[float, float]]
    variety: float
    run: int
    marks: frozenset[str]
    word: float
    syllables: bool

    def verdict(self, text: str) -> str | None:
        """Why the text is unlike every real row, or None."""
        low, high = self.characters
        words = words_of(text)
        if len(text) < low or len(words) < self.fewest_words:
            return "shorter than any real row"
        if len(text) > high:
            return "longer than any real row"
        plain, characters = _plain_counts(text), _other_characters(text)
        scripts = _scripts(plain, characters)
        foreign = sum(count for script, count in scripts.items() if script not in self.scripts)
        if foreign > _FOREIGN * max(sum(scripts.values()), 1):
            return "another script than the real rows"
        slack = _SHARE_SLACK + 1.0 / len(text)
        for name, share in _shares(plain, characters, len(text)).items():
            low, high = self.shares[name]
            if not low - slack <= share <= high + slack:
                return f"made up otherwise than the real rows ({name})"
        if max(map(len, words), default=0) > self.word:
            return "a word longer than any real row has"
        if not self.syllables and _SYLLABLES.search(text.casefold()):
            return "a word of the same syllables again and again"
        if _marks(text) - self.marks:
            return "markup or code that no real row has"
        if _run(words) > self.run or _variety(words) < self.variety:
            return "repeats itself"
        return None


def learn_kind(texts: Sequence[str]) -> Kind:
    """The kind of the real `texts` (at least one)."""
    lengths = [len(text) for text in texts]
    scripts: Counter[str] = Counter()
    characters = [(_plain_counts(text), _other_characters(text)) for text in texts]
    for of_text in characters:
        scripts.update(_scripts(*of_text))
    known = {name for name, count in scripts.items() if count >= 1e-3 * scripts.total()}
    shares = [_shares(*of_text, len(text)) for of_text, text in zip(characters, texts, strict=True)]
    words = [words_of(text) for text in texts]
    return Kind(
        characters=(min(lengths) / _LENGTH_SLACK, max(lengths) * _LENGTH_SLACK),
        fewest_words=int(min(map(len, words)) / _LENGTH_SLACK),
        scripts=frozenset(known or scripts),
        shares={name: _span([share[name] for share in shares]) for name in shares[0]},
        variety=min(map(_variety, words)) - 0.1,
        run=max(map(_run, words)) + 1,
        marks=frozenset().union(*(_marks(text) for text in texts)),
        word=_WORD_SLACK * max(_LONG_WORD, *(len(word) for of_text in words for word in of_text), 0),
        syllables=any(_SYLLABLES.search(text.casefold()) for text in texts),
    )


def rules_that_hold(
    rules: Sequence[Callable[[str], str | None]], texts: Sequence[str], *, most: float = 0.02
) -> list[Callable[[str], str | None]]:
    """The rules that refuse at most the share `most` of the real texts: what real rows do is no fault."""
    return [rule for rule in rules if np.mean([rule(text) is not None for text in texts]) <= most]


def _span(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


@lru_cache(maxsize=4)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, folded; several rules look at one text in turn."""
    if text.isascii():
        return tuple(WORD.findall(text.lower()))
    return tuple(word.casefold() for word in WORD.findall(text))


def _plain_counts(text: str) -> dict[str, int]:
    """How many of the ASCII characters of a text are letters, digits, brackets and other signs.

    Most characters of most texts are such, and four passes in C take a fraction of one in Python.
    """
    plain = text.encode("ascii", "ignore")
    size = len(plain)
    return {name: size - len(plain.translate(None, own)) for name, own in _PLAIN.items()}


def _other_characters(text: str) -> Counter[str]:
    """The characters beyond ASCII."""
    return Counter() if text.isascii() else Counter(c for c in text if c > "\x7f")


def _scripts(plain: dict[str, int], characters: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    if plain["letters"]:
        found["LATIN"] = plain["letters"]
    for character, count in characters.items():
        if script := _known(character)[0]:
            found[script] += count
    return found


@lru_cache(maxsize=4096)
def _known(character: str) -> tuple[str, str]:
    """A letter's script, else nothing; and what it is among `_shares`, else nothing.

    The first word of a letter's Unicode name is its script: LATIN, CYRILLIC, CJK, HIRAGANA...
    """
    category, script = unicodedata.category(character), ""
    if character.isalpha():
        script = unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
    if category in ("Ps", "Pe"):
        return script, "brackets"
    return script, {"L": "letters", "M": "letters", "N": "digits", "P": "signs", "S": "signs"}.get(
        category[0], ""
    )


_PLAIN = {
    name: bytes(code for code in range(128) if _known(chr(code))[1] == name)
    for name in ("letters", "digits", "brackets", "signs")
}


def _shares(plain: dict[str, int], characters: Counter[str], total: int) -> dict[str, float]:
    """Of all `total` characters, how many are letters, digits, brackets, and other signs."""
    counts = plain
    if characters:
        counts = {**plain, "": 0}
        for character, count in characters.items():
            counts[_known(character)[1]] += count
    return {name: count / total for name, count in counts.items() if name}


def _marks(text: str) -> set[str]:
    folded = text.casefold()
    if "http" not in folded and "www." not in folded and _MARK_SIGN.search(folded) is None:
        return set()
    return {mark for mark in _MARKS if mark in folded}


def _variety(words: Sequence[str]) -> float:
    """Distinct words among the words of the poorest window; 1 for texts too short to tell."""
    if len(words) < _FEW:
        return 1.0
    size = min(_WINDOW, len(words))
    starts = {*range(0, len(words) - size + 1, max(size // 2, 1)), len(words) - size}
    return min(len(set(words[start : start + size])) / size for start in starts)


def _run(words: Sequence[str]) -> int:
    """How often one to eight words are said directly after themselves, at most."""
    longest = 1
    # As many words as are said again at once have stood before, and `size` words before each stands the same.
    said_before = len(words) - len(set(words))
    for size in range(1, min(_LONGEST_RUN, said_before) + 1):
        if sum(map(operator.eq, words[size:], words)) < size:
            continue
        same = 0  # words in a row that are those of `size` words before
        for word, before in zip(words[size:], words, strict=False):
            same = same + 1 if word == before else 0
            longest = max(longest, 1 + same // size)
    return longest


def breaks_off(text: str, *, most: int) -> str | None:
    """Says so if the text is as long as it was allowed to be and does not end as a sentence does."""
    if len(text) < 0.95 * most:
        return None
    return None if ends_as_a_sentence(text) else "breaks off"


def ends_as_a_sentence(text: str) -> bool:
    return text.rstrip(_AFTER)[-1:] in tuple(_ENDS + ":")


def sentence_ends(text: str) -> list[int]:
    """Where the whole sentences of a text end, but for a last one that nothing follows."""
    return [match.end() for match in _SENTENCE_END.finditer(text)]


def without_the_last(text: str, *, most: int) -> str:
    """A text that breaks off, as far as its last whole sentence, if that leaves at least half of it."""
    if breaks_off(text, most=most) is None:
        return text
    whole = sentence_ends(text)
    return text[: whole[-1]] if whole and 2 * whole[-1] >= len(text) else text
