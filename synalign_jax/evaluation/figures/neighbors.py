"""Real and synthetic rows by their neighbours: t-SNE, as the paper draws them (SynAlign, figure 3)."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.pca import principal_components
from synalign_jax.core.spacing import evenly_spaced

from .axes import real_and_synthetic, square

FEWEST_POINTS = 100
_MAX_POINTS = 300  # of each kind: t-SNE of 900 points takes a few seconds
_COMPONENTS = 50  # as van der Maaten & Hinton, JMLR 2008, section 4.2
_STEPS = 500


class NoPicture(ValueError):
    """Why there is no t-SNE, in a sentence."""


def neighbor_figures(real: Any, before: Any, after: Any, *, seed: int = 0) -> tuple[Markup, Markup]:
    """Real rows under synthetic rows as generated, and under those after alignment, in one t-SNE of all.

    By scikit-learn, on the first 50 principal components, from their first two as a start.

    Args:
        real, before, after: (rows, width) embeddings; of more than a few hundred, evenly spaced ones count.
        seed: of the optimisation.

    Raises:
        NoPicture: scikit-learn is not installed, or the rows are too few or all alike.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise NoPicture(
            "The rows by their neighbours (t-SNE) are not drawn: scikit-learn is not installed"
            " (pip install 'synalign-jax[report]')."
        )
    count = min(len(before), len(after), _MAX_POINTS)
    sets = [
        np.asarray(rows[evenly_spaced(len(rows), most)], np.float64)
        for rows, most in ((real, _MAX_POINTS), (before, count), (after, count))
    ]
    # A row that is drawn on both sides is one point.
    points, places = np.unique(np.concatenate(sets), axis=0, return_inverse=True)
    if len(points) < FEWEST_POINTS:
        raise NoPicture(
            f"The rows by their neighbours (t-SNE) are not drawn: {len(points)} rows are too few for it."
        )
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    wide = principal_components(points.astype(np.float32), min(_COMPONENTS, *points.shape)).project(points)
    wide = np.asarray(wide, np.float64)
    wide = wide / (np.abs(wide).max() or 1.0)
    start: Any = wide[:, :2] if wide.shape[1] > 1 else np.pad(wide, ((0, 0), (0, 1)))
    # Threads that wait for each other take longer than the work, where the machine has other work.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # about its own defaults
        found = TSNE(
            perplexity=min(30.0, len(points) / 5),
            init=(start / (np.std(start[:, 0]) or 1.0) * 1e-4).astype(np.float32),
            max_iter=_STEPS,
            random_state=seed,
        ).fit_transform(wide)
    if not np.isfinite(found).all():
        raise NoPicture("The rows by their neighbours (t-SNE) are not drawn: the rows are all but alike.")
    placed = np.asarray(found, np.float64)[places.ravel()]
    shown = np.split(placed, np.cumsum([len(rows) for rows in sets])[:-1])
    axes = square(placed)
    words = "by their neighbours"
    return (
        real_and_synthetic(shown[0], shown[1], axes, f"as generated, {words}"),
        real_and_synthetic(shown[0], shown[2], axes, f"after alignment, {words}"),
    )
