"""How long the rows are: real, as generated and weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import InputError
from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.evaluation import svg
from synalign_jax.evaluation.measures.wording import word_counts

from .axes import strip, x_axis

_BINS = 24
_TEXTS = 50_000


def length_figure(real: Sequence[str] | None, pool: Sequence[str], weights: Any = None) -> Markup:
    """The share of rows of each length in words; those beyond the longest half per cent count at the end.

    Args:
        real: texts of real rows, if there are any.
        pool: (m,) texts.
        weights: (m,) of the pool's rows; None for equal ones.
    """
    if not len(pool):
        raise InputError("pool: no texts")
    rows = evenly_spaced(len(pool), _TEXTS)
    counts = word_counts([pool[int(i)] for i in rows])
    sets: list[tuple[str, str, np.ndarray, np.ndarray | None]] = []
    if real:
        some = evenly_spaced(len(real), _TEXTS)
        sets.append(("real", "real", word_counts([real[int(i)] for i in some]), None))
    sets.append(("as generated", "before", counts, None))
    if weights is not None and np.any(own := np.asarray(weights, np.float64)[rows]):
        sets.append(("weighted", "synthetic", counts, own))
    end = max(float(np.quantile(own, 0.995)) for _, _, own, _ in sets)
    # Whole numbers of words a bin: others would hold now more, now fewer lengths.
    width = max(1, int(np.ceil((end + 1) / _BINS)))
    edges = np.arange(0, width * (_BINS + 1), width)[: int(end // width) + 2]
    bars = [
        (name, style, np.histogram(np.minimum(own, edges[-1] - 0.5), edges, weights=w)[0], _mean(own, w))
        for name, style, own, w in sets
    ]
    shares = [(name, style, heights / heights.sum(), mean) for name, style, heights, mean in bars]
    height, top, bottom, left, right = 216, 30, 174, 12, svg.WIDTH - 12
    to_x = svg.scale(0, float(edges[-1]), left, right)
    to_y = svg.scale(0, 1.04 * max(float(h.max()) for _, _, h, _ in shares), bottom, top)
    parts = []
    for _, style, heights, _ in shares:
        x = np.repeat(edges, 2).astype(float)
        y = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
        if style == "real":
            parts.append(svg.polygon(to_x(x), to_y(y), "band series0"))
        parts.append(svg.polyline(to_x(x), to_y(y), f"step {style}"))
    means = ", ".join(f"{name} {mean:.0f}" for name, _, _, mean in shares)
    return svg.figure(
        height,
        f"Share of rows by their number of words; mean words a row: {means}",
        *strip([(f"{name} {mean:.0f}", f"step {style}") for name, style, _, mean in shares]),
        *parts,
        svg.line(left, bottom, right, bottom, "rule"),
        *x_axis(to_x, svg.ticks(0, float(edges[-1]), 6), bottom, "{:g}"),
        svg.text((left + right) / 2, height - 6, "words a row", class_="title middle"),
    )


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    return float(np.average(values, weights=weights))
