"""How well a few chosen rows cover a pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from synalign_jax.core.checks import InputError, check_rows
from synalign_jax.core.pca import principal_components

_BLOCK = 8_192


def hull_coverage(pool: Any, chosen: Any, *, dims: int = 2) -> float:
    """Share of the volume of the pool's convex hull that the chosen rows' hull covers (SynAlign, figure 4).

    Both hulls are taken in the first `dims` principal components of the pool.

    Args:
        pool: (n, d) floating rows.
        chosen: (m,) indices into the pool.
        dims: 2 for the paper's area; 3 to 5 say more, and need more rows.

    Returns:
        A number from 0 (fewer than dims + 1 distinct rows chosen) to 1.

    Raises:
        InputError: bad rows, an index out of range, or a pool that is flat in `dims` dimensions.
    """
    check_rows("pool", pool, min_rows=dims + 1)
    chosen = _indices(chosen, pool.shape[0])
    points = np.asarray(principal_components(pool, dims).project(pool), dtype=np.float64)
    whole = _volume(points)
    if whole == 0.0:
        raise InputError(f"pool: its hull has no volume in {dims} dimension(s); use a smaller dims")
    return _volume(points[chosen]) / whole


def best_cosine(pool: Any, chosen: Any) -> float:
    """Mean over the pool of the cosine to the nearest chosen row; 1 where every row has a chosen copy.

    Args:
        pool: (n, d) floating rows, none of them zero.
        chosen: (m,) indices into the pool, at least one.

    Raises:
        InputError: bad rows, a zero row, no index or one out of range.
    """
    check_rows("pool", pool)
    chosen = _indices(chosen, pool.shape[0])
    if chosen.size == 0:
        raise InputError("chosen: no rows, so there is no nearest one")
    anchors = _unit(np.asarray(pool[chosen]), chosen)
    total = 0.0
    for start in range(0, pool.shape[0], _BLOCK):
        block = np.asarray(pool[start : start + _BLOCK])
        block = _unit(block, np.arange(start, start + len(block)))
        total += float(np.max(block @ anchors.T, axis=1).sum(dtype=np.float64))
    return total / pool.shape[0]


def _indices(chosen: Any, rows: int) -> np.ndarray:
    chosen = np.asarray(chosen).ravel()
    if chosen.size == 0:
        return chosen.astype(int)
    if not np.issubdtype(chosen.dtype, np.integer):
        raise InputError(f"chosen: expected integer indices into the pool, got {chosen.dtype}")
    if chosen.min() < 0 or chosen.max() >= rows:
        raise InputError(f"chosen: index {chosen.max()} or {chosen.min()} is outside 0..{rows - 1}")
    return np.unique(chosen)


def _unit(x: np.ndarray, names: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not norms.all():
        raise InputError(f"pool: row {names[np.argmin(norms[:, 0])]} is zero, so it has no direction")
    return x / norms


def _volume(points: np.ndarray) -> float:
    if points.shape[1] == 1:
        return float(np.ptp(points)) if points.size else 0.0
    if len(points) <= points.shape[1]:
        return 0.0
    try:
        return float(ConvexHull(points).volume)
    except QhullError:
        return 0.0  # all points lie in a hyperplane
