"""The clusters that were chosen, over their pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.pca import principal_components
from synalign_jax.evaluation import svg

from .axes import legend, square, two_wide

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
            np.linspace(0, len(rows) - 1, _MAX_POOL_POINTS).astype(int),
            clusters[:, 1:],
            clusters[:, 0],
        )
    )
    to_x, to_y = square(np.concatenate([pool, neighbors, centers]))
    return svg.figure(
        svg.WIDTH,
        f"{len(centers)} clusters of {clusters.shape[1]} rows over a pool of {len(rows)}, in two directions",
        svg.rect(0.5, 0.5, svg.WIDTH - 1, svg.WIDTH - 1, "frame"),
        svg.dots(to_x(pool[:, 0]), to_y(pool[:, 1]), "point real"),
        svg.dots(to_x(neighbors[:, 0]), to_y(neighbors[:, 1]), "point chosen"),
        svg.dots(to_x(centers[:, 0]), to_y(centers[:, 1]), "point center"),
        *legend(("pool", "real"), ("in a cluster", "chosen"), ("its centre", "center")),
    )
