"""How many rows have which weight."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import check_weights
from synalign_jax.core.effective import effective_rows
from synalign_jax.evaluation import svg

from .axes import x_axis, y_axis


def weight_figure(weights: Any) -> Markup:
    """How many rows have which weight, in multiples of the even weight 1/m."""
    check_weights("weights", weights, len(weights))
    weights = np.asarray(weights, np.float64)
    relative = weights / weights.mean()
    # The last bar gathers the longest half per cent, so that one row cannot flatten the picture.
    end = max(2.0, float(np.quantile(relative, 0.995)))
    edges = np.linspace(0, end, 25)
    counts, _ = np.histogram(np.minimum(relative, end), edges)
    height, bottom, left, right = 210, 168, 38, svg.WIDTH - 8
    to_x = svg.scale(0, end, left, right)
    to_y = svg.scale(0, counts.max(), bottom, 26)
    bars = [
        svg.rect(to_x(a) + 0.5, to_y(n), to_x(b) - to_x(a) - 1, bottom - to_y(n), "bar synthetic")
        for (a, b), n in zip(pairwise(edges), counts, strict=True)
    ]
    effective = effective_rows(weights)
    return svg.figure(
        height,
        f"Histogram of {len(weights)} weights; effective sample size {effective:.0f}",
        *y_axis(to_y, svg.ticks(0, counts.max()), left, right, "{:,.0f}"),
        *bars,
        svg.line(to_x(1), 18, to_x(1), bottom, "reference"),
        svg.text(to_x(1) + 5, 26, "even weight", class_="note"),
        *x_axis(to_x, svg.ticks(0, end), bottom, "{:g}×"),
        svg.text(
            (left + right) / 2, height - 6, "weight, in multiples of an even one", class_="title middle"
        ),
    )
