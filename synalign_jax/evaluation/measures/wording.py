"""Texts as words: lengths, vocabulary, and how much the texts of one set repeat each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def word_counts(texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """How many words each text has."""
    return np.array([len(words(text)) for text in texts], np.float64)


def distinct_share(texts: Sequence[str], length: int, grams: int) -> float:
    """Distinct n-grams over all n-grams in the first `length` of them, texts one after the other.

    The share falls with length, so sets compare at one length alone.

    Source: distinct-n of Li et al., "A Diversity-Promoting Objective Function", NAACL 2016, section 5.
    """
    found: list[tuple[str, ...]] = []
    for text in texts:
        own = words(text)
        found += zip(*(own[i:] for i in range(grams)), strict=False)
        if len(found) >= length:
            break
    found = found[:length]
    return len(set(found)) / len(found) if found else float("nan")


def gram_count(texts: Sequence[str], grams: int) -> int:
    """How many n-grams the texts have."""
    return sum(max(0, len(words(text)) - grams + 1) for text in texts)


def self_bleu(texts: Sequence[str]) -> float:
    """The mean BLEU-4 of each text against all the others, 0 to 100; high where texts repeat each other.

    It rises with the number of texts, so sets compare at one size alone. By sacrebleu, smoothed as its
    sentence scores are ("exp", effective order).

    Source: Zhu et al., "Texygen", SIGIR 2018, section 3.1.

    Raises:
        ImportError: sacrebleu is not installed.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    scores = [
        metric.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score
        for i, text in enumerate(texts)
        if text.strip()
    ]
    return float(np.mean(scores)) if scores else float("nan")
