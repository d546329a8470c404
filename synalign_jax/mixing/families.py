"""The ways to weigh a pool: as generated, aligned, by what is thought of its labels, and products."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from synalign_jax.core.align.kept import pack_form, unpack_form
from synalign_jax.core.align.landmarks.witness import ClosedForm
from synalign_jax.core.align.path import Path, penalty_path
from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, kept_or_made
from synalign_jax.core.kernels import Kernel, pooled_rbf

from .agreement import Agreement, say_nothing, with_real, within
from .task import Task

STRENGTHS = (0.25, 4.0)  # penalties of alignment in noise bands: strong, and on the way to equal weights
_PSEUDO_ROWS = 50  # rows that the pool's own label shares count for beside those of the real rows
_DOUBTED = 0.02  # what a row counts for whose label students of other rows find wrong, others counting 1


class Family(NamedTuple):
    """`strength` is a position in STRENGTHS; `labels` how labels are held against what students of other rows
    say: "chances" weighs by the squared probability, "pool" and "both" leave out the rows that students of
    the pool, or of the real rows and the pool, label otherwise; `grouped` spreads weights evenly within every
    group.
    """

    name: str
    strength: int | None = None
    labels: Literal["chances", "pool", "both"] | None = None
    grouped: bool = False


FAMILIES = (
    Family("as generated"),
    Family("aligned", strength=1),
    Family("trusted", labels="chances"),
    Family("agreed", labels="pool"),
    Family("agreed with the real rows", labels="both"),
    Family("aligned and agreed", strength=1, labels="both"),
)
GROUPED = (
    Family("aligned, by group", strength=0, grouped=True),
    Family("agreed, by group", labels="both", grouped=True),
)


class Weigher:
    """Weights of the sample fold by fold, and of any further rows.

    Args:
        task: real rows and the pool's sample.
        kept: (folds + 1, n) the real rows that are not held out; the last time all are there.
        there: (folds + 1, s) the rows of the sample that go with them; weights of others are 0.
        checkpoint: keeps what is finished.
    """

    def __init__(
        self,
        task: Task,
        kept: Bool[np.ndarray, "f n"],
        there: Bool[np.ndarray, "f s"],
        checkpoint: Checkpoint = NO_CHECKPOINT,
    ) -> None:
        self.task, self.kept, self.there = task, kept, there
        self._aligned, self._rules = self._align(checkpoint)
        pool = within(task, there, checkpoint)
        self.labels_say_nothing = say_nothing(task, there[-1], pool)
        both = kept_or_made(
            checkpoint,
            "opinions of both",
            lambda: with_real(task, kept.astype(float), there, pool).packed(),
        )
        self._opinions = {"pool": pool, "both": Agreement.unpacked(both)}

    def sample(self, family: Family, groups: Int[np.ndarray, " s"] | None = None) -> np.ndarray:
        """(folds + 1, s) weights that sum to 1, the last of them learned from all real rows."""
        weights = self.there.astype(float)
        if family.strength is not None:
            weights = weights * self._aligned[family.strength]
        if family.labels is not None:
            weights = weights * self._of_labels(family)
        if family.grouped and groups is not None:
            weights = _spread(weights, groups, self.there)
        vanish = ~weights.any(axis=1)
        weights[vanish] = self.there[vanish]
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)

    def further(
        self, families: Sequence[Family], rows: np.ndarray, codes: Int[np.ndarray, " r"]
    ) -> Float[np.ndarray, "families r"]:
        """Weights of rows outside the sample, on the scale of `raw`; labels that the real rows lack get 0."""
        known = np.flatnonzero(codes >= 0)
        z = self.task.scale(rows[known])
        aligned, said = lru_cache(partial(self._aligned_rows, rows, codes)), {}
        weights = np.tile((codes >= 0).astype(float), (len(families), 1))
        for of_family, family in zip(weights, families, strict=True):
            if family.strength is not None:
                of_family *= aligned(family.strength)
            if family.labels is not None:
                asked = _asked(family)
                if asked not in said:
                    said[asked] = self._opinions[asked].of(z, codes[known])
                of_family[known] *= _from(family, *said[asked])
        return weights

    def _aligned_rows(
        self, rows: np.ndarray, codes: Int[np.ndarray, " r"], strength: int
    ) -> Float[np.ndarray, " r"]:
        weights = np.ones(len(rows))
        for label in range(self.task.classes):
            of_label = np.flatnonzero(codes == label)
            rule, share = self._rules[strength].get(label, (None, 1.0))
            if len(of_label):
                weights[of_label] = share * (1.0 if rule is None else rule(rows[of_label]))
        return weights

    def raw(self, family: Family) -> Float[np.ndarray, " s"]:
        """The sample's weights from all real rows, on the scale of `further`."""
        weights = self.there[-1].astype(float)
        if family.strength is not None:
            weights = weights * self._aligned[family.strength, -1]
        if family.labels is not None:
            weights = weights * self._of_labels(family)[-1]
        return weights

    def _of_labels(self, family: Family) -> Float[np.ndarray, "f s"]:
        asked = self._opinions[_asked(family)]
        return _from(family, asked.own, asked.right)

    def _align(
        self, checkpoint: Checkpoint
    ) -> tuple[np.ndarray, list[dict[int, tuple[ClosedForm | None, float]]]]:
        """(strengths, folds + 1, s) multiples of the even weight, and each label's rule with its factor."""
        task, kept = self.task, self.kept
        kernel = pooled_rbf(task.real, task.rows)
        multiples = np.ones((len(STRENGTHS), len(kept), len(task.rows)))
        rules: list[dict[int, tuple[ClosedForm | None, float]]] = [{} for _ in STRENGTHS]
        pools, of_pool = np.unique(self.there, axis=0, return_inverse=True)
        for pool, label in itertools.product(range(len(pools)), range(task.classes)):
            mine = np.flatnonzero(of_pool.ravel() == pool)
            real = np.flatnonzero(task.codes == label)
            rows = np.flatnonzero((task.row_codes == label) & pools[pool])
            if not len(rows):
                continue
            # The label shares of few real rows are noise of their own.
            s = np.count_nonzero(pools[pool])
            share = (len(real) + _PSEUDO_ROWS * len(rows) / s) / (len(task.real) + _PSEUDO_ROWS)
            factor = share * s / len(rows)
            of_all = mine[-1] == len(kept) - 1
            out = [np.flatnonzero(~kept[fold, real]) for fold in (mine[:-1] if of_all else mine)]
            path = _kept_path(
                checkpoint, f"path {pool} {label}", task.real[real], task.rows[rows], kernel, out
            )
            found = np.ones((1, 1, 1)) if path is None else path.weights[:, : len(mine)] * len(rows)
            multiples[np.ix_(np.arange(len(STRENGTHS)), mine, rows)] = found * factor
            if of_all:
                for i, rule in enumerate(rules):
                    rule[label] = (None if path is None else path.rules[i], factor)
        return multiples, rules


def _kept_path(
    checkpoint: Checkpoint,
    name: str,
    real: np.ndarray,
    rows: np.ndarray,
    kernel: Kernel,
    folds: Sequence[np.ndarray],
) -> Path | None:
    """`penalty_path` at STRENGTHS, or what was kept of it."""

    def made() -> dict[str, np.ndarray]:
        path = penalty_path(real, rows, kernel=kernel, factors=STRENGTHS, folds=folds)
        if path is None:
            return {}
        arrays = {"weights": path.weights}
        for i, rule in enumerate(path.rules):
            arrays |= pack_form(rule, f"{i} ")
        return arrays

    found = kept_or_made(checkpoint, name, made)
    if not found:
        return None
    return Path(found["weights"], tuple(unpack_form(found, kernel, f"{i} ") for i in range(len(STRENGTHS))))


def _asked(family: Family) -> str:
    return "pool" if family.labels == "pool" else "both"


def _from(family: Family, own: np.ndarray, right: np.ndarray) -> np.ndarray:
    return own**2 if family.labels == "chances" else np.maximum(right, _DOUBTED)


def _spread(
    weights: Float[np.ndarray, "f s"], groups: Int[np.ndarray, " s"], there: Bool[np.ndarray, "f s"]
) -> Float[np.ndarray, "f s"]:
    """Each group's mean, for all rows of the group that are there."""
    most = int(groups.max()) + 1
    sums, counts = (np.stack([np.bincount(groups, row, most) for row in of]) for of in (weights, there))
    return (sums / np.maximum(counts, 1))[:, groups] * there
