"""What several figures share: scales, ticks, legends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.evaluation import svg


def square(points: np.ndarray) -> tuple[Any, Any]:
    """The maps of both directions that fit (n, 2) points into a square picture."""
    low, high = points.min(axis=0), points.max(axis=0)
    # One scale for both directions: a stretched axis would bend distances.
    half = 0.52 * float((high - low).max()) or 1.0
    middle = (low + high) / 2
    return (
        svg.scale(middle[0] - half, middle[0] + half, 6, svg.WIDTH - 6),
        svg.scale(middle[1] - half, middle[1] + half, svg.WIDTH - 6, 6),
    )


def two_wide(points: np.ndarray) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def legend(*entries: tuple[str, str]) -> list[Markup]:
    """(word, class) entries, one above the other in the upper left corner."""
    return [
        part
        for i, (word, style) in enumerate(entries)
        for part in (
            svg.dots([16], [18 + 18 * i], f"key {style}"),
            svg.text(26, 22 + 18 * i, word, class_="label"),
        )
    ]


def x_axis(to_x: Any, values: list[float], y: svg.Number, pattern: str) -> list[Markup]:
    def tick(x: float, words: str) -> Markup:
        # Half of a word at the edge would lie outside the figure.
        return svg.text(x, y + 16, words, class_=f"tick {'end' if x > svg.WIDTH - 20 else 'middle'}")

    return [tick(float(to_x(v)), pattern.format(v)) for v in values]


def y_axis(to_y: Any, values: list[float], left: svg.Number, right: svg.Number, pattern: str) -> list[Markup]:
    return [
        part
        for v in values
        for part in (
            svg.line(left, to_y(v), right, to_y(v), "grid"),
            svg.text(left - 6, to_y(v) + 4, pattern.format(v), class_="tick end"),
        )
    ]


def apart(positions: list[float], gap: float) -> list[float]:
    """The positions in their order, moved down where two lie closer than `gap`."""
    placed = list(positions)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + gap)
    return placed


def short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
