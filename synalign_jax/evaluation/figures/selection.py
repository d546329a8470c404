"""The clusters that were chosen, over their pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.pca import principal_components
from synalign_jax.core.spacing import evenly_spaced

from .axes import framed, square, two_wide

_MAX_POOL_POINTS = 4_000


def selection_figure(rows: Any, clusters: Any) -> Markup:
    """The chosen clusters over their pool, in the pool's two principal directions.

    Args:
        rows: (n, width) embeddings; of a large pool some evenly spaced rows are drawn.
        clusters: (rounds, size) row numbers, the centre first.
    """
    components = principal_components(rows, 2)
    clusters = np.asarray(clusters)
    pool, neighbors, centers = (
        two_wide(components.project(rows[np.unique(which)]))
        for which in (
            evenly_spaced(len(rows), _MAX_POOL_POINTS),
            clusters[:, 1:],
            clusters[:, 0],
        )
    )
    return framed(
        f"{len(centers)} clusters of {clusters.shape[1]} rows over a pool of {len(rows)}, in two directions",
        (
            ("pool", "point real", pool),
            ("in a cluster", "point chosen", neighbors),
            ("its centre", "point center", centers),
        ),
        square(np.concatenate([pool, neighbors, centers])),
    )
