"""Every measure at one size: a half of the real rows against the other half, and against as many of the pool.

Nearly all measures of likeness and diversity depend on how many rows are compared, so a pool's value says
nothing beside that of real rows at another size. Here all are taken at the same sizes, and what the other
half of the real rows scores is the yardstick.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from synalign_jax.core.resample import resample

from .fidelity import frechet_distance, manifold, mauve, vendi_score
from .measure import Measure, Spread
from .separability import two_sample_accuracy
from .wording import distinct_share, gram_count, self_bleu, word_counts

LARGEST_HALF = 2_000
_BLEU_TEXTS = 100


@dataclass(frozen=True)
class Side:
    """Rows to be measured: vectors, texts if there are any, and weights if they are not equal."""

    vectors: np.ndarray
    texts: Sequence[str] | None = None
    weights: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Side:
        texts = None if self.texts is None else [self.texts[int(i)] for i in rows]
        return Side(np.asarray(self.vectors[rows]), texts)


_LIKENESS = (
    ("Fréchet distance (FID)", "as real", "distance of means and covariances; 0 is alike"),
    ("MAUVE", "high", "overlap of the two distributions over clusters; 1 is alike"),
    ("precision", "as real", "share of rows that lie among real rows"),
    ("recall", "as real", "share of real rows that lie among these rows"),
    ("density", "as real", "how crowded real neighbourhoods are with these rows; 1 is alike"),
    ("coverage", "as real", "share of real rows with one of these rows as a near neighbour"),
    (
        "told apart by a classifier",
        "low",
        "accuracy of a linear classifier, this set against real; 0.5 is chance",
    ),
)
_VARIETY = (("Vendi score", "as real", "how many rows unlike each other the set is worth"),)
_WORDING = (
    ("self-BLEU", "as real", "how much texts repeat each other, 0 to 100"),
    ("distinct words", "as real", "distinct words over all words, at equal length"),
    ("distinct word pairs", "as real", "distinct pairs over all pairs, at equal length"),
    ("words a text (median)", "as real", "length"),
    ("words a text (90 %)", "as real", "length that one text in ten exceeds"),
)


def measure(
    real: Side, pool: Side, *, key: Any, splits: int, on_progress: Callable[[int], None] | None = None
) -> tuple[Measure, ...]:
    """All measures, over `splits` random halves of the real rows with fresh draws of the pool each.

    Weighted values are those of rows drawn by the weights, a heavy row several times.

    Args:
        real: 8 rows or more.
        pool: 4 rows or more; with fewer rows than a half, rows are drawn more than once.
        key: halves and draws.
        on_progress: called with 1 after each split.
    """
    half = min(len(real.vectors) // 2, LARGEST_HALF)
    columns = ["real", "pool"] + (["weighted"] if pool.weights is not None else [])
    found: dict[str, list[list[float]]] = {column: [] for column in columns}
    for split_key in jax.random.split(key, splits):
        order_key, pool_key, weight_key, side_key = jax.random.split(split_key, 4)
        order = np.asarray(jax.random.permutation(order_key, len(real.vectors)))
        base = real.take(order[:half])
        sides = {"real": real.take(order[half : 2 * half])}
        sides["pool"] = pool.take(_draw(None, len(pool.vectors), half, pool_key))
        if pool.weights is not None:
            sides["weighted"] = pool.take(_draw(pool.weights, len(pool.vectors), half, weight_key))
        seed = int(jax.random.randint(side_key, (), 0, 2**31 - 1))
        lengths = _common_lengths(list(sides.values()))
        for column, side in sides.items():
            found[column].append(_likeness(base, side, seed, side_key) + _variety(side, lengths))
        if on_progress is not None:
            on_progress(1)
    spreads = {
        column: [
            Spread(float(np.mean(v)), float(np.std(v, ddof=1)) if len(v) > 1 else 0.0)
            for v in zip(*rows, strict=True)
        ]
        for column, rows in found.items()
    }
    names = [("likeness", *each) for each in _LIKENESS] + [("variety", *each) for each in _VARIETY]
    if _common_lengths([real, pool]) is not None:
        names += [("wording", *each) for each in _WORDING]
    return tuple(
        Measure(
            name, group, better, says, spreads["real"][i], spreads["pool"][i],
            spreads["weighted"][i] if "weighted" in spreads else None,
        )
        for i, (group, name, better, says) in enumerate(names)
        if not np.isnan(spreads["real"][i].value)
    )  # fmt: skip


def _draw(weights: np.ndarray | None, rows: int, count: int, key: Any) -> np.ndarray:
    if weights is None and rows >= count:
        return np.asarray(jax.random.permutation(key, rows))[:count]
    even = np.ones(rows) if weights is None else weights
    return np.asarray(jax.random.permutation(key, resample(even, count, key=key, method="systematic")))


def _likeness(base: Side, side: Side, seed: int, key: Any) -> list[float]:
    near = manifold(base.vectors, side.vectors)
    return [
        frechet_distance(base.vectors, side.vectors),
        mauve(base.vectors, side.vectors, seed=seed),
        *near,
        two_sample_accuracy(base.vectors, side.vectors, key=key) if len(side.vectors) >= 4 else float("nan"),
    ]


def _common_lengths(sides: list[Side]) -> tuple[int, int] | None:
    """Words and word pairs that every set has, None without texts."""
    texts = [side.texts for side in sides if side.texts is not None]
    if len(texts) < len(sides):
        return None
    return min(gram_count(t, 1) for t in texts), min(gram_count(t, 2) for t in texts)


def _variety(side: Side, lengths: tuple[int, int] | None) -> list[float]:
    values = [vendi_score(side.vectors)]
    if lengths is None or side.texts is None:
        return values
    counts = word_counts(side.texts)
    bleu = float("nan")
    if importlib.util.find_spec("sacrebleu") is not None:
        bleu = self_bleu(side.texts[:_BLEU_TEXTS])
    return [
        *values,
        bleu,
        distinct_share(side.texts, lengths[0], 1),
        distinct_share(side.texts, lengths[1], 2),
        float(np.median(counts)),
        float(np.quantile(counts, 0.9)),
    ]
