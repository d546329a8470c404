"""What several figures share: scales, ticks, legends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.evaluation import svg

STRIP = 26
"""Height of the strip at the top of a figure that holds its legend."""


def square(points: np.ndarray) -> tuple[Any, Any]:
    """The maps of both directions that fit (n, 2) points into a square picture below its legend."""
    low, high = points.min(axis=0), points.max(axis=0)
    # One scale for both directions: a stretched axis would bend distances.
    half = 0.52 * float((high - low).max()) or 1.0
    middle = (low + high) / 2
    return (
        svg.scale(middle[0] - half, middle[0] + half, 6, svg.WIDTH - 6),
        svg.scale(middle[1] - half, middle[1] + half, STRIP + svg.WIDTH - 6, STRIP + 6),
    )


def framed(told: str, layers: Sequence[tuple[str, str, np.ndarray]], maps: tuple[Any, Any]) -> Markup:
    """(name, class, (n, 2) points) layers, the first at the bottom, in a frame under their legend.

    Args:
        told: to those who cannot see it.
        maps: of both directions, as `square` returns them.
    """
    to_x, to_y = maps
    return svg.figure(
        STRIP + svg.WIDTH,
        told,
        *strip([(name, style.replace("point", "key")) for name, style, _ in layers]),
        svg.rect(0.5, STRIP + 0.5, svg.WIDTH - 1, svg.WIDTH - 1, "frame"),
        *(svg.dots(to_x(points[:, 0]), to_y(points[:, 1]), style) for _, style, points in layers),
    )


def real_and_synthetic(real: np.ndarray, synthetic: np.ndarray, maps: tuple[Any, Any], words: str) -> Markup:
    """Points of both kinds; `words` say which synthetic rows, and where."""
    return framed(
        f"{len(real)} real rows and {len(synthetic)} synthetic rows {words}",
        (("real", "point real", real), ("synthetic", "point synthetic", synthetic)),
        maps,
    )


def two_wide(points: np.ndarray) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def strip(entries: Sequence[tuple[str, str]], left: svg.Number = 8) -> list[Markup]:
    """The legend: (word, class) entries beside each other, in the STRIP at the top, where no point lies."""
    parts, x = [], float(left) + 7
    for word, style in entries:
        parts += [_sample(x, 12, style), svg.text(x + 12, 16, word, class_="label small-label")]
        x += 30 + 6.4 * len(word)
    return parts


def _sample(x: svg.Number, y: svg.Number, style: str) -> Markup:
    kind = style.split()[0]
    if kind in ("curve", "step"):
        return svg.line(x - 7, y, x + 7, y, style)
    if kind == "bar-mark":
        return svg.line(x, y - 7, x, y + 7, style)
    if kind == "noise":
        return svg.rect(x - 7, y - 6, 14, 12, style)
    return svg.circle(x, y, 4.5, style) if kind == "ring" else svg.dots([x], [y], style)


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
