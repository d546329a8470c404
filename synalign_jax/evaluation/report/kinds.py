"""Which kinds of rows won and lost by their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from synalign_jax.core.effective import effective_rows
from synalign_jax.evaluation.figures.weights import weight_figure
from synalign_jax.evaluation.measures.wording import words

from .facts import Kind, Kinds, Weights

_MOST = 12  # values shown of one thing
_MOST_WORDS = 8  # of those that won, and of those that lost
_TEXTS = 20_000  # rows whose words are counted
_CHANCE = 1.0  # standard errors that a word's change is beyond
_RAREST = 0.02  # share of the rows, of the weight or of both, that a word shown has
_FEWEST_ROWS = 3  # rows with a word or an attribute's value, below which a share says nothing
_LIGHT = 0.1
_NEAREST = "Shown here are the weights that bring the pool nearest to the real rows (distribution)."


def weights_shown(training: np.ndarray, distribution: np.ndarray) -> tuple[np.ndarray, str]:
    """The weights that a report shows, and what it says of them: those for training, unless these tell
    nothing, because they are all 0 or all the same.
    """
    if not training.any():
        return distribution, f"No row is worth training on. {_NEAREST}"
    if np.ptp(training) <= 1e-6 * np.max(training):
        return distribution, f"In training all rows count alike. {_NEAREST}"
    return training, "These are the weights for training."


def weights_facts(weights: np.ndarray) -> Weights:
    """How weights of (m,) rows are spread; not all 0."""
    relative = np.asarray(weights, np.float64) / np.mean(weights)
    heaviest = np.sort(relative)[-max(1, len(relative) // 10) :]
    return Weights(
        rows=len(relative),
        effective=effective_rows(relative),
        light=int(np.count_nonzero(relative < _LIGHT)),
        heavy_share=float(heaviest.sum() / relative.sum()),
        picture=weight_figure(weights),
    )


def kinds_by(
    name: str,
    pool: Sequence[Any],
    weights: np.ndarray | None,
    real: Sequence[Any] | None = None,
    *,
    most: int = _MOST,
    fewest: int = 1,
) -> Kinds | None:
    """Shares of the rows by their value: those whose share changed most first where not all can be shown.

    Args:
        name: of the thing, as "label".
        pool, weights: (m,) of the pool's rows.
        real: (n,) of the real rows; None where they have no such thing.
        fewest: rows of the pool with a value below which it is left out.

    Returns:
        None where there are less than two values to compare.
    """
    values = [str(value) for value in pool]
    counts = Counter(values)
    heavy: dict[str, float] = {}
    if weights is not None:
        for value, weight in zip(values, np.asarray(weights, np.float64).tolist(), strict=True):
            heavy[value] = heavy.get(value, 0.0) + weight
    total = sum(heavy.values()) or 1.0
    of_real = Counter(str(value) for value in real or ())
    found = [
        Kind(
            value,
            None if real is None else of_real[value] / max(1, len(real)),
            counts[value] / max(1, len(values)),
            None if weights is None else heavy.get(value, 0.0) / total,
        )
        for value in dict.fromkeys([*counts, *of_real])
        if counts[value] >= fewest or of_real[value] >= fewest
    ]
    if len(counts | of_real) < 2 or not found:
        return None
    return _most_telling(name, found, most, len(counts | of_real))


def kinds_of_sets(
    name: str,
    pool: Sequence[Collection[str]],
    weights: np.ndarray | None,
    real: Sequence[Collection[str]],
) -> Kinds | None:
    """`kinds_by` where a row may have several values: the share of the rows that have each one."""
    total = 1.0 if weights is None else float(np.sum(weights)) or 1.0
    found = []
    for value in sorted({value for side in (pool, real) for row in side for value in row}):
        has = np.fromiter((value in row for row in pool), bool, len(pool))
        theirs = sum(value in row for row in real) / max(1, len(real))
        heavy = None if weights is None else float(np.asarray(weights)[has].sum() / total)
        found.append(Kind(value, theirs, float(has.mean()), heavy))
    return _most_telling(name, found, _MOST, len(found)) if len(found) > 1 else None


def _most_telling(name: str, found: Sequence[Kind], most: int, values: int) -> Kinds:
    """Those whose share changed most, or is furthest from the real rows', in the order of these."""
    shown = sorted(found, key=lambda kind: -max(abs(kind.change), abs(kind.pool - (kind.real or kind.pool))))
    shown = sorted(shown[:most], key=lambda kind: (-(kind.real or kind.pool), kind.value))
    return Kinds(name, tuple(shown), values - len(shown))


def ranges(values: Sequence[Any], of: Sequence[Any]) -> list[str] | None:
    """Numbers as the fifth of `of` that they lie in ("2.1 to 3"); None where they are no numbers, or few.

    A value that is missing is its own kind.
    """
    given = [value for value in of if value is not None]
    if not all(type(value) in (int, float) for value in [*given, *(v for v in values if v is not None)]):
        return None
    if len(set(given)) <= _MOST:
        return None
    edges = np.unique(np.quantile(np.asarray(given, np.float64), np.linspace(0, 1, 6)))
    places = [
        -1 if value is None else int(np.searchsorted(edges[1:-1], value, side="right")) for value in values
    ]
    names = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
    return ["missing" if place < 0 else names[place] for place in places]


def attribute_kinds(
    rows: Sequence[Mapping[str, Any]], weights: np.ndarray, *, most: int = 6
) -> tuple[Kinds, ...]:
    """Of rows' attributes, each name -> value or list of values: those names whose values come more than
    once.
    """
    names = Counter(name for row in rows for name in row)
    found = []
    for name, _ in names.most_common(4 * most):
        own, of_own = [], []
        for row, weight in zip(rows, weights.tolist(), strict=True):
            given = row.get(name)
            for value in given if isinstance(given, list | tuple) else [given]:
                if value not in (None, ""):
                    own.append(value)
                    of_own.append(weight)
        if own and (kinds := kinds_by(name, own, np.array(of_own), most=6, fewest=_FEWEST_ROWS)):
            found.append(kinds)
    return tuple(found[:most])


def word_kinds(
    pool: Sequence[str], weights: np.ndarray, real: Sequence[str] | None, *, seed: int = 0
) -> Kinds | None:
    """The words whose share of the rows changed most, those that won first.

    A change is measured against its chance: a share p of m rows, weighed to e effective ones, is known to
    sqrt(p (1 - p) / e).

    Args:
        pool, weights: (m,) texts and their weights; of many, some at random count.
        real: texts of real rows, whose shares stand beside.
    """
    rows = _some(len(pool), seed)
    own = np.asarray(weights, np.float64)[rows]
    if len(rows) < 2 or not own.any():
        return None
    own = own / own.sum()
    plain, heavy = Counter[str](), Counter[str]()
    for row, weight in zip(rows.tolist(), own.tolist(), strict=True):
        for word in set(words(pool[int(row)])):
            plain[word] += 1
            heavy[word] += weight  # pyright: ignore[reportArgumentType]
    names = [word for word, count in plain.items() if count >= _FEWEST_ROWS and not word.isdigit()]
    if not names:
        return None
    before = np.array([plain[word] for word in names]) / len(rows)
    after = np.array([heavy[word] for word in names])
    middle = np.clip((before + after) / 2, 0.5 / len(rows), 1 - 0.5 / len(rows))
    change = (after - before) / np.sqrt(middle * (1 - middle) / effective_rows(own))
    order = np.argsort(-change, kind="stable")
    order = order[np.maximum(before, after)[order] >= _RAREST]
    won = [i for i in order[:_MOST_WORDS] if change[i] > _CHANCE]
    lost = [i for i in order[::-1][:_MOST_WORDS] if change[i] < -_CHANCE]
    if not won and not lost:
        return None
    of_real = Counter[str]()
    some = _some(len(real), seed) if real else np.zeros(0, int)
    for row in some.tolist():
        of_real.update(set(words(real[int(row)])) if real else ())
    kinds = tuple(
        Kind(
            names[i],
            of_real[names[i]] / len(some) if len(some) else None,
            float(before[i]),
            float(after[i]),
        )
        for i in [*won, *reversed(lost)]
    )
    counted = "" if len(rows) == len(pool) else f"Counted in {len(rows):,} rows drawn at random."
    return Kinds("word", kinds, note=counted)


def _some(rows: int, seed: int) -> np.ndarray:
    if rows <= _TEXTS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, _TEXTS, replace=False))
