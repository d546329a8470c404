"""How good a ranking is."""

from __future__ import annotations

import numpy as np


def ndcg(ranked: np.ndarray, relevant: list[np.ndarray], depth: int = 10) -> float:
    """Mean normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), an answer counting 1."""
    discount = 1 / np.log2(np.arange(depth) + 2)
    gains = [np.isin(row[:depth], some) @ discount for row, some in zip(ranked, relevant, strict=True)]
    best = [discount[: len(some)].sum() for some in relevant]
    return float(np.mean(np.divide(gains, best)))


def recall(ranked: np.ndarray, relevant: list[np.ndarray], depth: int = 100) -> float:
    return float(
        np.mean([np.isin(some, row[:depth]).mean() for row, some in zip(ranked, relevant, strict=True)])
    )
