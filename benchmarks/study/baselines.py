"""Weights that others would give the rows of a pool; 1 is the weight of a real row, 0 leaves a row out."""

from __future__ import annotations

import itertools
import re
import zlib

import numpy as np
from sklearn.model_selection import StratifiedKFold

from .students import logistic

_BUCKETS = 10_000
_CAP = 10.0
_PENALTY = 1e-2


def confidence(real: np.ndarray, real_labels: np.ndarray, pool: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows whose label is the one that a model of the real rows gives them (after Curated LLM, ICML 2024)."""
    model = logistic(real, real_labels, np.ones(len(real)), _PENALTY)
    return (model.predict(pool) == labels).astype(float)


def classifier_ratio(real: np.ndarray, pool: np.ndarray, seed: int) -> np.ndarray:
    """Odds of being real by a classifier of real against pool, cross-fitted, both sides with the same
    weight.
    """
    rows = np.concatenate([real, pool])
    side = np.repeat([1, 0], [len(real), len(pool)])
    weights = np.repeat([1 / len(real), 1 / len(pool)], [len(real), len(pool)]) * len(rows) / 2
    odds = np.zeros(len(rows))
    for fit, held in StratifiedKFold(5, shuffle=True, random_state=seed).split(rows, side):
        share = logistic(rows[fit], side[fit], weights[fit], _PENALTY).predict_proba(rows[held])[:, 1]
        odds[held] = share / np.maximum(1 - share, 1e-9)
    return _mean_one(np.minimum(odds[len(real) :], _CAP))


def dimp(
    real: np.ndarray, real_labels: np.ndarray, pool: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    """P(label | text) of a model of the real rows over that of a cross-fitted model of the pool (DIMP loss:
    Kuo et al., ICLR 2025)."""
    given = _share_of(logistic(real, real_labels, np.ones(len(real)), _PENALTY), pool, labels)
    own = np.ones(len(pool))
    if len(np.unique(labels)) < 2:
        return own
    for fit, held in _folds(labels, seed):
        model = logistic(pool[fit], labels[fit], np.ones(len(fit)), _PENALTY)
        own[held] = _share_of(model, pool[held], labels[held])
    return _mean_one(np.minimum(given / np.maximum(own, 1e-3), _CAP))


def self_weighted(pool: np.ndarray, labels: np.ndarray, seed: int, rounds: int = 5) -> np.ndarray:
    """Boosting turned round: rows that cross-fitted students of the pool get right gain weight, those that
    they get wrong lose it. After the description of self-boosting weight adjustment in FuseGen (Zou et al.,
    EMNLP 2024), with the step of SAMME (Zhu et al. 2009) and students that have not seen the rows they judge.
    """
    weights = np.ones(len(pool))
    classes = len(np.unique(labels))
    if classes < 2:
        return weights
    for step in range(rounds):
        right = np.zeros(len(pool), bool)
        for fit, held in _folds(labels, seed + step):
            right[held] = (
                logistic(pool[fit], labels[fit], weights[fit], _PENALTY).predict(pool[held]) == labels[held]
            )
        wrong = np.clip(weights[~right].sum() / weights.sum(), 1e-3, 1 - 1e-3)
        pace = np.log((1 - wrong) / wrong) + np.log(classes - 1)
        weights = _mean_one(weights * np.exp(max(pace, 0.0) / rounds * right))
    return weights


def dsir(real: list[str], pool: list[str], seed: int, keep: float = 0.5) -> np.ndarray:
    """A share of the pool drawn without replacement by the ratio of hashed n-gram models (Xie et al., NeurIPS
    2023, sections 3 and 4): unigrams and bigrams in 10,000 buckets, Gumbel top-k on the log ratio.
    """
    of_real, of_pool = ngram_counts(real), ngram_counts(pool)
    # As in the authors' package: 1e-8 stands for n-grams that were never seen.
    share_real, share_pool = (counts.sum(axis=0) / counts.sum() for counts in (of_real, of_pool))
    log_ratio = np.log(share_real + 1e-8) - np.log(share_pool + 1e-8)
    noisy = of_pool @ log_ratio + np.random.default_rng(seed).gumbel(size=len(pool))
    weights = np.zeros(len(pool))
    weights[np.argsort(-noisy)[: max(2, round(keep * len(pool)))]] = 1.0
    return weights


def ngram_counts(texts: list[str]) -> np.ndarray:
    """(texts, 10,000) how often n-grams of one and two words fall into each bucket."""
    counts = np.zeros((len(texts), _BUCKETS), np.float32)
    for row, text in zip(counts, texts, strict=True):
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        for gram in words + [f"{a} {b}" for a, b in itertools.pairwise(words)]:
            row[zlib.crc32(gram.encode("utf-8", "replace")) % _BUCKETS] += 1
    return counts


def nearest(real: np.ndarray, pool: np.ndarray, keep: float = 0.5) -> np.ndarray:
    """The share of the pool that lies nearest to any real row, by cosine."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (real, pool)]
    closest = (unit[1] @ unit[0].T).max(axis=1)
    return (closest >= np.quantile(closest, 1 - keep)).astype(float)


def _folds(labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    counts = np.unique(labels, return_counts=True)[1]
    folds = StratifiedKFold(min(5, max(2, int(counts.min()))), shuffle=True, random_state=seed)
    return list(folds.split(labels, labels))


def _share_of(model: object, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """P(label | row), 0 for labels that the model has never seen."""
    shares = model.predict_proba(rows)  # pyright: ignore[reportAttributeAccessIssue]
    places = {name: i for i, name in enumerate(model.classes_)}  # pyright: ignore[reportAttributeAccessIssue]
    return np.array(
        [share[places[y]] if y in places else 0.0 for share, y in zip(shares, labels, strict=True)]
    )


def _mean_one(weights: np.ndarray) -> np.ndarray:
    return weights / weights.mean() if weights.sum() > 0 else np.ones(len(weights))
