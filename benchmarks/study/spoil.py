"""Pools spoilt on purpose, so that the truth is known: what was lost, and what the best weights would win
back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.cluster import KMeans


@dataclass(frozen=True)
class Pool:
    """Rows of a pool. `groups` is the source column; `clean` is the same rows before they were spoilt."""

    name: str
    vectors: np.ndarray
    texts: list[str]
    labels: np.ndarray
    groups: np.ndarray | None = None
    clean: Pool | None = None

    def take(self, rows: np.ndarray) -> Pool:
        return replace(
            self,
            vectors=self.vectors[rows],
            texts=[self.texts[i] for i in rows],
            labels=self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def named(self, name: str, clean: Pool | None) -> Pool:
        return replace(self, name=f"{self.name}: {name}", clean=clean)


def joined(name: str, pools: list[Pool]) -> Pool:
    """Several pools in one, with the name of each as the group of its rows."""
    return Pool(
        name,
        np.concatenate([p.vectors for p in pools]),
        [text for p in pools for text in p.texts],
        np.concatenate([p.labels for p in pools]),
        np.concatenate([np.full(len(p.labels), p.name) for p in pools]),
    )


def flipped(share: float) -> Callable[[Pool, Pool, np.random.Generator], Pool]:
    def spoil(pool: Pool, _: Pool, rng: np.random.Generator) -> Pool:
        names = np.unique(pool.labels)
        labels = pool.labels.copy()
        for i in rng.choice(len(labels), round(share * len(labels)), replace=False):
            labels[i] = rng.choice(names[names != labels[i]])
        return replace(pool, labels=labels)

    return spoil


def at_random(pool: Pool, _: Pool, rng: np.random.Generator) -> Pool:
    """Labels that say nothing: the right verdict is not to use them."""
    return replace(pool, labels=rng.permutation(pool.labels))


def topics_missing(pool: Pool, _: Pool, __: np.random.Generator) -> Pool:
    """Half of the clusters of each label are gone."""
    kept = []
    for label in np.unique(pool.labels):
        rows = np.flatnonzero(pool.labels == label)
        cluster = KMeans(6, n_init=2, random_state=0).fit_predict(pool.vectors[rows])  # pyright: ignore[reportArgumentType]
        kept.append(rows[cluster < 3])
    return pool.take(np.concatenate(kept))


def foreign(pool: Pool, other: Pool, rng: np.random.Generator) -> Pool:
    """Half of the rows are of another domain, with labels at random."""
    half = len(pool.labels) // 2
    mine = pool.take(rng.choice(len(pool.labels), half, replace=False))
    theirs = other.take(rng.choice(len(other.labels), half, replace=False))
    labels = rng.choice(np.unique(pool.labels), half)
    return joined(pool.name, [replace(mine, name="own"), replace(theirs, name="foreign", labels=labels)])


def one_source(pool: Pool, _: Pool, __: np.random.Generator) -> Pool:
    """Only the rows nearest to one of them: a narrow source."""
    near = pool.vectors @ pool.vectors[0]
    return pool.take(np.sort(np.argsort(-near)[: len(near) // 4]))


def short(pool: Pool, _: Pool, __: np.random.Generator) -> Pool:
    """The shortest quarter."""
    lengths = np.array([len(text.split()) for text in pool.texts])
    return pool.take(np.sort(np.argsort(lengths, kind="stable")[: len(lengths) // 4]))


def near_copies(pool: Pool, _: Pool, rng: np.random.Generator) -> Pool:
    """One row in twenty, as often as it takes, each copy a little apart."""
    few = rng.choice(len(pool.labels), len(pool.labels) // 20, replace=False)
    copies = pool.take(np.tile(few, 20))
    noise = rng.normal(scale=0.01, size=copies.vectors.shape).astype(np.float32)
    return replace(copies, vectors=copies.vectors + noise)


SPOILS: dict[str, Callable[[Pool, Pool, np.random.Generator], Pool]] = {
    "15 % flipped": flipped(0.15),
    "30 % flipped": flipped(0.30),
    "45 % flipped": flipped(0.45),
    "labels at random": at_random,
    "topics missing": topics_missing,
    "half foreign": foreign,
    "one source": one_source,
    "short rows": short,
    "near-copies": near_copies,
}
"""name -> a function of the pool, a pool of another domain, and a generator."""
