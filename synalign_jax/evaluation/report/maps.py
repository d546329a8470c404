"""Where the rows lie, before and after: their neighbours, and the plane of most variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from synalign_jax.core.resample import systematic
from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.evaluation.figures.neighbors import NoPicture, neighbor_figures
from synalign_jax.evaluation.figures.plane import plane_figures

from .facts import Figure

_MOST = 20_000  # rows: enough to find two principal directions
_HEADS = ("as generated", "after alignment")


def maps_of(
    real: np.ndarray, pool: Any, weights: np.ndarray | None, drawn: np.ndarray | None = None
) -> tuple[tuple[Figure, ...], str]:
    """The pictures, and what is to be said of one that is missing.

    Args:
        real, pool: (n, d) and (m, d) vectors, of which some are read.
        weights: (m,) of the pool's rows, not all 0; None shows the pool alone.
        drawn: rows of the pool that were drawn by them; without any, some are drawn here.
    """
    own, before = _some(real), _some(pool)
    if weights is None:
        after = before
    else:
        rows = drawn if drawn is not None and len(drawn) else _drawn(weights)
        after = np.asarray(pool[rows[evenly_spaced(len(rows), _MOST)]])
    figures, note = [], ""
    try:
        panels = zip(_HEADS, neighbor_figures(own, before, after), strict=True)
        figures.append(
            Figure(
                "By their neighbours",
                "t-SNE of all that is drawn at once: rows that are near each other in the embeddings are near"
                " here. How far apart groups lie, and how wide they are, says nothing.",
                tuple(panels)[: 2 if weights is not None else 1],
            )
        )
    except NoPicture as reason:
        note = str(reason)
    first, second, share = plane_figures(own, before, after)
    panels = tuple(zip(_HEADS, (first, second), strict=True))
    figures.append(
        Figure(
            "In the two directions of most variance",
            f"The plane of the two first principal components holds {share:.0%} of the variance of the"
            " embeddings: the picture illustrates, the distance above decides.",
            panels[: 2 if weights is not None else 1],
        )
    )
    return tuple(figures), note


def _some(rows: Any) -> np.ndarray:
    return np.asarray(rows[evenly_spaced(len(rows), _MOST)])


def _drawn(weights: np.ndarray) -> np.ndarray:
    """Distinct rows, as many as the weights are worth, by their weights."""
    share = np.asarray(weights, np.float64) / np.sum(weights)
    count = max(1, min(_MOST, round(1.0 / float(np.sum(share**2)))))
    return np.unique(systematic(share, count, 0.5))
