"""Real and synthetic rows in their two principal directions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import check_rows

from .axes import real_and_synthetic, square

_MAX_POINTS = 700


class Projection(NamedTuple):
    """Two principal directions: `axes` (2, width), `center` (width,), `share` of the variance they hold."""

    axes: np.ndarray
    center: np.ndarray
    share: float

    def __call__(self, rows: Any) -> np.ndarray:
        """(rows, 2)"""
        return (np.asarray(rows, np.float64) - self.center) @ self.axes.T


def principal_plane(real: Any, synthetic: Any) -> Projection:
    """The two principal directions of real and synthetic rows together, each group weighing one half.

    Real rows alone would hide a gap that lies across their own directions; a plane chosen for separation
    would overstate one.
    """
    check_rows("real", real)
    check_rows("synthetic", synthetic, width=np.shape(real)[1])
    groups = [np.asarray(x, np.float64) for x in (real, synthetic)]
    center = np.mean([x.mean(axis=0) for x in groups], axis=0)
    if sum(map(len, groups)) < len(center):  # the smaller Gram matrix: n^2 d where the other takes d^3
        weighed = np.concatenate([(x - center) / np.sqrt(2.0 * len(x)) for x in groups])
        values, left = np.linalg.eigh(weighed @ weighed.T)
        lengths = np.sqrt(np.maximum(values[:-3:-1], 0.0))
        some = lengths > 1e-7 * lengths[0]
        axes = np.where(some, 1.0 / np.where(some, lengths, 1.0), 0.0)[:, None] * (
            left[:, :-3:-1].T @ weighed
        )
    else:
        covariance = np.mean([(x - center).T @ (x - center) / len(x) for x in groups], axis=0)
        values, vectors = np.linalg.eigh(covariance)
        axes = vectors[:, :-3:-1].T
    if len(axes) == 1:
        axes = np.concatenate([axes, np.zeros((1, len(center)))])
    # An eigenvector's sign is arbitrary; fixing it makes the picture the same on every machine.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    total = values.sum()
    return Projection(axes, center, float(values[-2:].sum() / total) if total > 0 else 1.0)


def plane_figures(real: Any, before: Any, after: Any, *, seed: int = 0) -> tuple[Markup, Markup, float]:
    """Real rows under synthetic rows as generated, and under the resampled ones, on the same axes.

    Equally many synthetic points are drawn on both sides, so that only their places differ.

    Args:
        real, before, after: (rows, width) embeddings; `after` holds the resampled rows.
        seed: picks the points drawn where there are more than a few hundred.

    Returns:
        the two figures, and the share of the variance that the plane holds.
    """
    plane = principal_plane(real, before)
    rng = np.random.default_rng(seed)
    count = min(len(before), len(after), _MAX_POINTS)
    shown = [
        plane(np.asarray(x)[np.sort(rng.permutation(len(x))[:n])])
        for x, n in ((real, _MAX_POINTS), (before, count), (after, count))
    ]
    maps, places = square(np.concatenate(shown)), "in two directions"
    return (
        real_and_synthetic(shown[0], shown[1], maps, f"as generated, {places}"),
        real_and_synthetic(shown[0], shown[2], maps, f"after alignment, {places}"),
        plane.share,
    )
