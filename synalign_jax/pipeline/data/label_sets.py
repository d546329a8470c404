"""Rows of several labels: text and labels in one vector, so that they are weighed together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synalign_jax.core.spacing import evenly_spaced

_SAMPLE = 2_048  # rows from which the scale of the vectors is taken


def joint_vectors(
    vectors: tuple[np.ndarray, np.ndarray],
    sets: tuple[Sequence[tuple[str, ...]], Sequence[tuple[str, ...]]],
) -> tuple[np.ndarray, np.ndarray]:
    """[z, s b] for every row of both sides: z its vector, b its labels as zeros and ones.

    The RBF kernel of these is the product of one over the vectors and one over the label sets: the distance
    is that of the joint distributions: which labels come together, and with which texts, counts as the texts
    do. s makes the mean squared distance of the labels that of the vectors, over the real rows.

    Args:
        vectors: (n, d) real and (m, d) synthetic.
        sets: the labels of each row.

    Returns:
        (n, d + labels) and (m, d + labels) float32.
    """
    names = sorted({label for side in sets for labels in side for label in labels})
    column = {name: i for i, name in enumerate(names)}
    marks = []
    for side in sets:
        marked = np.zeros((len(side), len(names)), np.float32)
        for row, labels in enumerate(side):
            marked[row, [column[label] for label in labels]] = 1.0
        marks.append(marked)
    spread = _spread(vectors[0]) / max(_spread(marks[0]), 1e-12)
    scale = np.float32(np.sqrt(spread)) if _spread(marks[0]) > 0 else np.float32(1.0)
    real, pool = (
        np.concatenate([np.asarray(x, np.float32), scale * marked], axis=1)
        for x, marked in zip(vectors, marks, strict=True)
    )
    return real, pool


def _spread(rows: np.ndarray) -> float:
    """Half the mean squared distance between two rows."""
    some = np.asarray(rows[evenly_spaced(len(rows), _SAMPLE)], np.float64)
    return float(some.var(axis=0).sum())
