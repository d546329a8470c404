"""Rows that are too alike: copies of real rows, repeated rows of a pool, test rows that were trained on."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .wording import words

_RUN = 8  # words in a row that are hardly shared by chance
_BLOCK = 1_024


@dataclass(frozen=True)
class Copying:
    """How much of a pool is copied.

    Attributes:
        copies: pool rows that are a real row, case, spacing and punctuation aside (or its very vector).
        passages: pool rows that share eight words in a row with a real row; None without texts.
        closer: pool rows nearer to a real row than all but 5 % of real rows are to another: 5 % is chance.
        distinct: rows of the pool that are left when each is counted once.
        rows: rows of the pool.
    """

    copies: int
    passages: int | None
    closer: int
    distinct: int
    rows: int


def copying(
    real: np.ndarray, pool: np.ndarray, real_texts: Sequence[str] | None, pool_texts: Sequence[str] | None
) -> Copying:
    """Count copied rows of a pool, by its texts where there are some, else by its vectors."""
    real_keys, pool_keys = keys(real, real_texts), keys(pool, pool_texts)
    known = set(real_keys)
    passages = None
    if real_texts is not None and pool_texts is not None:
        runs = {run for text in real_texts for run in _runs(text)}
        passages = sum(any(run in runs for run in _runs(text)) for text in pool_texts)
    closer = 0
    if len(real) > 1:
        usual = np.quantile(nearest_distances(real, real, same=True), 0.05)
        closer = int(np.count_nonzero(nearest_distances(pool, real) < usual))
    return Copying(
        copies=sum(key in known for key in pool_keys),
        passages=passages,
        closer=closer,
        distinct=len(set(pool_keys)),
        rows=len(pool_keys),
    )


def overlap(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[int, int]]:
    """(row of `first`, row of `second`) for every row of `first` that is in `second`, by `keys`."""
    place: dict[Any, int] = {}
    for i, key in enumerate(second):
        place.setdefault(key, i)
    return [(i, place[key]) for i, key in enumerate(first) if key in place]


def keys(vectors: np.ndarray, texts: Sequence[str] | None) -> list[Any]:
    """What makes rows the same row: the words of their texts, or else their vectors to six digits."""
    if texts is None:
        return [row.tobytes() for row in np.round(np.asarray(vectors, np.float32), 6) + 0.0]
    out: list[Any] = []
    for text in texts:
        plain = unicodedata.normalize("NFKC", text).casefold()
        # Where nothing but signs is written, the signs are the text.
        out.append(" ".join(words(plain)) or plain.strip())
    return out


def nearest_distances(rows: np.ndarray, others: np.ndarray, *, same: bool = False) -> np.ndarray:
    """(rows,) distance to the nearest of `others`; with `same` they are the rows themselves, each left
    out.
    """
    middle = np.asarray(others, np.float64).mean(axis=0)
    b = (np.asarray(others, np.float64) - middle).astype(np.float32)
    squares = np.square(b).sum(axis=1)
    out = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        a = (np.asarray(rows[start : start + _BLOCK], np.float64) - middle).astype(np.float32)
        squared = np.square(a).sum(axis=1)[:, None] + squares[None, :] - 2 * a @ b.T
        if same:
            squared[np.arange(len(a)), start + np.arange(len(a))] = np.inf
        out[start : start + _BLOCK] = np.sqrt(np.maximum(squared.min(axis=1), 0.0))
    return out


def _runs(text: str) -> set[tuple[str, ...]]:
    own = words(text)
    return {tuple(own[i : i + _RUN]) for i in range(len(own) - _RUN + 1)}
