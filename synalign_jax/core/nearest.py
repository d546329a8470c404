"""The real row that lies nearest to each row."""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 4_096  # rows compared at a time


def nearest_rows(rows: Any, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index, Euclidean distance) of the nearest anchor of every row; `rows` may be read by slices."""
    index = np.empty(len(rows), np.int64)
    distance = np.empty(len(rows))
    # About the anchors' mean: far from the origin norms and products are large and nearly alike.
    origin = anchors.mean(axis=0, dtype=np.float64)
    anchors = _moved(anchors, origin)
    norms = np.sum(anchors**2, axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = _moved(rows[start : start + _BLOCK], origin)
        best = np.argmin(norms - 2.0 * block @ anchors.T, axis=1)
        index[start : start + len(block)] = best
        distance[start : start + len(block)] = np.linalg.norm(block - anchors[best], axis=1)
    return index, distance


def _moved(rows: np.ndarray, origin: np.ndarray) -> np.ndarray:
    return (rows - origin).astype(np.promote_types(rows.dtype, np.float32))
