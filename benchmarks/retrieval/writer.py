"""A stand-in for an LLM that writes a question for a passage, near real questions or far from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

KINDS = ("asked of the title", "title", "first sentence", "run of words", "key words", "of another passage")
_OPENINGS = (
    "what is known about",
    "has anyone investigated",
    "how can one calculate",
    "what are the effects of",
)


@dataclass(frozen=True)
class Pairs:
    """`questions` are texts, `passages` (m,) the passages that they were written for, `kinds` (m,)."""

    questions: list[str]
    passages: np.ndarray
    kinds: np.ndarray


def write(titles: list[str], passages: list[str], count: int, rng: np.random.Generator) -> Pairs:
    """`count` pairs, each kind as often as any other; the last kind is of no use: its question is about
    another passage.
    """
    common = Counter(word for text in passages for word in set(text.split()))
    of = rng.permutation(np.resize(rng.permutation(len(passages)), count))
    kinds = rng.permutation(np.resize(np.arange(len(KINDS)), count))
    asked = []
    for passage, kind in zip(of, kinds, strict=True):
        title, text = titles[passage], passages[passage]
        if KINDS[kind] == "of another passage":
            title = titles[(passage + rng.integers(1, len(passages))) % len(passages)]
        asked.append(_question(KINDS[kind], title.rstrip(" ."), text, common, len(passages), rng))
    return Pairs(asked, of, kinds)


def _question(
    kind: str, title: str, text: str, common: Counter[str], texts: int, rng: np.random.Generator
) -> str:
    words = text.split()
    if kind in ("asked of the title", "of another passage"):
        return f"{rng.choice(_OPENINGS)} {title} ."
    if kind == "title":
        return title
    if kind == "first sentence":
        return text.split(" . ")[0].strip()
    if kind == "run of words":
        length = int(rng.integers(4, 20))
        start = int(rng.integers(0, max(len(words) - length, 0) + 1))
        return " ".join(words[start : start + length])
    # By frequency in the passage over that in all, as in TF-IDF.
    own = Counter(word for word in words if word.isalpha())
    best = sorted(own, key=lambda word: -own[word] * np.log(texts / common[word]))[:6]
    return " ".join(rng.permutation(best)) if best else title
