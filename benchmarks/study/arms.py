"""The arms: what a student is trained on. Each gives the weights of real rows and of pool rows."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import synalign_jax as sa

from . import baselines
from .spoil import Pool

REAL, POOL, BOTH, CHOICE = "real", "pool", "real + pool", "mix"
ALIGN, PAPER = "align", "align, unregularised"
BASELINES = ("confidence", "classifier ratio", "DSIR", "DIMP", "self-weighted", "nearest real")
IDEAL = "real + ideal"
"""Pool rows before they were spoilt; for spoilt pools alone."""
ARMS = (REAL, POOL, BOTH, CHOICE, ALIGN, PAPER, *BASELINES)


@dataclass(frozen=True)
class Few:
    """The few real rows that a user has."""

    vectors: np.ndarray
    texts: list[str]
    labels: np.ndarray


@dataclass(frozen=True)
class Chosen:
    """Weights of the real rows and of the pool's, the seconds that they took, and what is worth keeping."""

    real: np.ndarray
    pool: np.ndarray
    seconds: float
    notes: dict[str, Any]


def choose(arm: str, few: Few, pool: Pool, seed: int) -> Chosen:
    """Weights by one arm.

    Real rows count 1 each. Every arm that reweighs the pool keeps its rows' mean weight at 1, as in "real +
    pool"; filters drop rows and leave the others at 1. Only the project's own choice sets the share.
    """
    start = time.perf_counter()
    ones = np.ones(len(few.labels))
    notes: dict[str, Any] = {}
    if arm == REAL:
        weights = np.zeros(len(pool.labels))
    elif arm in (POOL, BOTH, IDEAL):
        weights = np.ones(len(pool.labels))
    elif arm == CHOICE:
        weights, notes = _mix(few, pool, seed)
    elif arm in (ALIGN, PAPER):
        weights = _align(few, pool, seed, 0.0 if arm == PAPER else "auto")
    else:
        weights = _baseline(arm, few, pool, seed)
    if not weights.sum() > 0 and arm not in (REAL, CHOICE):
        notes["vanished"] = True  # a filter that keeps nothing leaves the real rows alone
    real = np.zeros_like(ones) if arm == POOL else ones
    return Chosen(real, weights, time.perf_counter() - start, notes)


def _align(few: Few, pool: Pool, seed: int, gamma: float | str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = np.isin(few.labels, np.unique(pool.labels))
        found = sa.align(
            few.vectors[known],
            pool.vectors,
            key=jax.random.key(seed),
            real_labels=few.labels[known],
            synthetic_labels=pool.labels,
            regularization=gamma,
        )
    return np.asarray(found.weights, float) * len(pool.labels)


def _mix(few: Few, pool: Pool, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sa.mix(
            few.vectors,
            few.labels.tolist(),
            pool.vectors,
            pool.labels.tolist(),
            key=jax.random.key(seed),
            groups=None if pool.groups is None else pool.groups.tolist(),
        )
    notes = {
        "share": found.share,
        "decision": found.verdict.decision,
        "sure": found.verdict.sure,
        "expected_gain": [float(value) for value in found.expected_gain],
        "candidate": found.chosen.name if found.chosen is not None else "",
    }
    return np.asarray(found.weights, float), notes


def _baseline(arm: str, few: Few, pool: Pool, seed: int) -> np.ndarray:
    if arm == "confidence":
        return baselines.confidence(few.vectors, few.labels, pool.vectors, pool.labels)
    if arm == "classifier ratio":
        return baselines.classifier_ratio(few.vectors, pool.vectors, seed)
    if arm == "DIMP":
        return baselines.dimp(few.vectors, few.labels, pool.vectors, pool.labels, seed)
    if arm == "self-weighted":
        return baselines.self_weighted(pool.vectors, pool.labels, seed)
    if arm == "DSIR":
        return baselines.dsir(few.texts, pool.texts, seed)
    return baselines.nearest(few.vectors, pool.vectors)
