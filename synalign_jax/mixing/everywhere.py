"""Weights of every row of a pool from what was learned on a sample of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, kept_or_made
from synalign_jax.core.progress import Tell

from .families import Family, Weigher

_BLOCK = 16_384
_PIECE = 8 * _BLOCK  # rows whose weights are kept at a time


def everywhere(
    weigher: Weigher,
    families: Sequence[Family],
    pool: Any,
    there: Bool[np.ndarray, " m"],
    tell: Tell,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Float[np.ndarray, "families m"]:
    """Weights of each family, summing to 1, of all rows that are there; the pool is read once, in blocks.

    Those of the sample are what was judged.
    """
    task, m = weigher.task, len(there)
    weights = np.zeros((len(families), m))
    if len(task.sample) < m:
        for first in range(0, m, _PIECE):

            def piece(first: int = first) -> dict[str, np.ndarray]:
                found = []
                for start in range(first, min(first + _PIECE, m), _BLOCK):
                    tell("weigh every row", start, m)
                    block = slice(start, min(start + _BLOCK, m))
                    rows = np.asarray(pool[block], np.float32)
                    found.append(weigher.further(families, rows, task.pool_codes[block]))
                return {"weights": np.concatenate(found, axis=1)}

            weights[:, first : first + _PIECE] = kept_or_made(checkpoint, f"rows {first}", piece)["weights"]
    beyond = there.copy()
    beyond[task.sample] = False
    for of_family, family in zip(weights, families, strict=True):
        raw = weigher.raw(family)
        for label in range(task.classes):
            # Weights that are hardly penalised fit the sample; beyond it the closed form needs a factor.
            within = raw[weigher.there[-1] & (task.row_codes == label)]
            without = beyond & (task.pool_codes == label)
            total = of_family[without].sum()
            if total > 0:
                of_family[without] *= (
                    within.mean() * np.count_nonzero(without) / total if len(within) else 1.0
                )
        of_family[~there] = 0.0
        of_family[task.sample] = raw
        if not of_family.sum() > 0:
            of_family[there] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)
