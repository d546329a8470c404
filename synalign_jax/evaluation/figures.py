"""The report's pictures, as inline SVG that follows the page's light or dark colours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import InputError, check_rows, check_weights
from synalign_jax.core.effective import effective_rows
from synalign_jax.core.pca import principal_components

from . import svg
from .metrics import Comparison

_MAX_POINTS = 700
_MAX_POOL_POINTS = 4_000


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
    covariance = np.mean([(x - center).T @ (x - center) / len(x) for x in groups], axis=0)
    values, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :2].T
    if len(axes) == 1:
        axes = np.concatenate([axes, np.zeros((1, 1))])
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
    to_x, to_y = _square(np.concatenate(shown))
    size = svg.WIDTH

    def panel(synthetic: np.ndarray, words: str) -> Markup:
        return svg.figure(
            size,
            f"{len(shown[0])} real rows and {len(synthetic)} synthetic rows {words}, in two directions",
            svg.rect(0.5, 0.5, size - 1, size - 1, "frame"),
            svg.dots(to_x(shown[0][:, 0]), to_y(shown[0][:, 1]), "point real"),
            svg.dots(to_x(synthetic[:, 0]), to_y(synthetic[:, 1]), "point synthetic"),
            *_legend(("real", "real"), ("synthetic", "synthetic")),
        )

    return panel(shown[1], "as generated"), panel(shown[2], "after alignment"), plane.share


def selection_figure(rows: Any, clusters: Any) -> Markup:
    """The chosen clusters over their pool, in the pool's two principal directions.

    Args:
        rows: (n, width) embeddings; of a large pool some evenly spaced rows are drawn.
        clusters: (rounds, size) row numbers, the centre first.
    """
    components = principal_components(rows, 2)
    clusters = np.asarray(clusters)
    pool, neighbors, centers = (
        _two_wide(components.project(rows[np.unique(which)]))
        for which in (
            np.linspace(0, len(rows) - 1, _MAX_POOL_POINTS).astype(int),
            clusters[:, 1:],
            clusters[:, 0],
        )
    )
    to_x, to_y = _square(np.concatenate([pool, neighbors, centers]))
    return svg.figure(
        svg.WIDTH,
        f"{len(centers)} clusters of {clusters.shape[1]} rows over a pool of {len(rows)}, in two directions",
        svg.rect(0.5, 0.5, svg.WIDTH - 1, svg.WIDTH - 1, "frame"),
        svg.dots(to_x(pool[:, 0]), to_y(pool[:, 1]), "point real"),
        svg.dots(to_x(neighbors[:, 0]), to_y(neighbors[:, 1]), "point chosen"),
        svg.dots(to_x(centers[:, 0]), to_y(centers[:, 1]), "point center"),
        *_legend(("pool", "real"), ("in a cluster", "chosen"), ("its centre", "center")),
    )


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
        *_y_axis(to_y, svg.ticks(0, counts.max()), left, right, "{:,.0f}"),
        *bars,
        svg.line(to_x(1), 18, to_x(1), bottom, "reference"),
        svg.text(to_x(1) + 5, 26, "even weight", class_="note"),
        *_x_axis(to_x, svg.ticks(0, end), bottom, "{:g}×"),
        svg.text(
            (left + right) / 2, height - 6, "weight, in multiples of an even one", class_="title middle"
        ),
    )


def coverage_figure(curves: Mapping[str, Any]) -> Markup:
    """Share of the pool covered against rounds, one line a way of choosing.

    Args:
        curves: name -> (rounds,) values in [0, 1], or (repeats, rounds) for a choice that depends on
            chance: its mean is drawn over a band from the least to the greatest.
    """
    lines = {name: np.atleast_2d(np.asarray(curve, np.float64)) for name, curve in curves.items()}
    if not lines or any(c.ndim != 2 or not c.shape[1] or not np.isfinite(c).all() for c in lines.values()):
        raise InputError("curves: give finite values, (rounds,) or (repeats, rounds), for at least one name")
    rounds = max(curve.shape[1] for curve in lines.values())
    height, bottom, top, left, right = 230, 188, 12, 42, svg.WIDTH - 70
    highest = max(curve.max() for curve in lines.values())
    to_x = svg.scale(1, max(rounds, 2), left, right)
    to_y = svg.scale(0, 1.02 * max(highest, 1e-9), bottom, top)
    ends = _apart([float(to_y(c.mean(axis=0)[-1])) for c in lines.values()], 14.0)
    parts = []
    for number, ((name, curve), label_y) in enumerate(zip(lines.items(), ends, strict=True)):
        x, mean, style = to_x(np.arange(1, curve.shape[1] + 1)), curve.mean(axis=0), f"series{number % 4}"
        if len(curve) > 1:
            outline = np.concatenate([curve.max(axis=0), curve.min(axis=0)[::-1]])
            parts.append(svg.polygon(np.concatenate([x, x[::-1]]), to_y(outline), f"band {style}"))
        parts.append(svg.polyline(x, to_y(mean), f"curve {style}"))
        parts.append(svg.text(x[-1] + 6, label_y + 4, _short(name, 12), class_=f"label {style}"))
    summary = ", ".join(f"{name} {curve.mean(axis=0)[-1]:.0%}" for name, curve in lines.items())
    return svg.figure(
        height,
        f"Coverage after {rounds} rounds: {summary}",
        *_y_axis(to_y, svg.ticks(0, highest), left, right, "{:.0%}"),
        *parts,
        *_x_axis(to_x, [t for t in svg.ticks(1, rounds) if t == int(t)], bottom, "{:g}"),
        svg.text((left + right) / 2, height - 6, "rounds", class_="title middle"),
    )


def accuracy_figure(comparison: Comparison) -> Markup:
    """Accuracy of the student of every training set, with its interval. The axis need not start at zero."""
    scores = comparison.scores
    low = min(s.accuracy.lower for s in scores)
    high = max(s.accuracy.upper for s in scores)
    margin = max(0.05 * (high - low), 0.005)
    low, high = max(0.0, low - margin), min(1.0, high + margin)
    step, top, left, right = 46, 14, 10, svg.WIDTH - 14
    bottom = top + step * len(scores)
    to_x = svg.scale(low, high, left, right)
    parts = []
    for i, s in enumerate(scores):
        y, a = top + step * i + 30, s.accuracy
        style = "baseline" if s.name == comparison.baseline else "synthetic"
        parts += [
            svg.text(left, y - 14, _short(s.name, 44), class_="label"),
            svg.text(right, y - 14, f"{a.value:.1%}", class_="label end"),
            svg.line(to_x(a.lower), y, to_x(a.upper), y, f"whisker {style}"),
            svg.dots([float(to_x(a.value))], [y], f"dot {style}"),
        ]
    base = next(s for s in scores if s.name == comparison.baseline).accuracy.value
    return svg.figure(
        bottom + 24,
        "; ".join(f"{s.name}: {s.accuracy.value:.1%}" for s in scores),
        svg.line(to_x(base), top, to_x(base), bottom, "reference"),
        *parts,
        *_x_axis(to_x, svg.ticks(low, high, 7), bottom, "{:.0%}" if high - low > 0.05 else "{:.1%}"),
    )


def distance_figure(before: svg.Number, after: svg.Number, noise: tuple[svg.Number, svg.Number]) -> Markup:
    """MMD^2 before and after on a line, over the band in which real rows differ from real rows.

    Args:
        noise: the ends of the band; an end below zero (the unbiased estimate can be) is drawn at zero.
    """
    before, after, low, high = values = [max(float(v), 0.0) for v in (before, after, *noise)]
    top = 1.08 * (max(values) or 1.0)
    left, right, y = 10, svg.WIDTH - 10, 58
    # A square-root axis is linear in the MMD itself and keeps zero, which a logarithm would not.
    to_x = svg.scale(0, np.sqrt(top), left, right)
    band, start, end = to_x(np.sqrt([low, high])), float(to_x(np.sqrt(before))), float(to_x(np.sqrt(after)))

    def label(x: svg.Number, y: svg.Number, words: str, class_: str) -> Markup:
        anchor = "end" if x > svg.WIDTH * 0.66 else "start" if x < svg.WIDTH * 0.33 else "middle"
        return svg.text(x, y, words, class_=f"{class_} {anchor}")

    return svg.figure(
        110,
        f"MMD squared {before:.2g} before and {after:.2g} after; real against real up to {high:.2g}",
        svg.rect(float(band[0]), y - 22, max(float(band[1] - band[0]), 1.0), 44, "noise"),
        label(float(band.mean()), y + 38, "real against real", "note"),
        svg.line(left, y, right, y, "rule"),
        svg.line(start, y, end, y, "travel"),
        svg.dots([start], [y], "dot before"),
        svg.dots([end], [y], "dot after"),
        label(start, 14, f"before {before:.2g}", "label"),
        label(end, 30, f"after {after:.2g}", "label strong"),
        svg.text(left, y + 38, "0", class_="note") if band[0] > left + 60 else Markup(""),
    )


def _square(points: np.ndarray) -> tuple[Any, Any]:
    """The maps of both directions that fit (n, 2) points into a square picture."""
    low, high = points.min(axis=0), points.max(axis=0)
    # One scale for both directions: a stretched axis would bend distances.
    half = 0.52 * float((high - low).max()) or 1.0
    middle = (low + high) / 2
    return (
        svg.scale(middle[0] - half, middle[0] + half, 6, svg.WIDTH - 6),
        svg.scale(middle[1] - half, middle[1] + half, svg.WIDTH - 6, 6),
    )


def _two_wide(points: np.ndarray) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def _legend(*entries: tuple[str, str]) -> list[Markup]:
    """(word, class) entries, one above the other in the upper left corner."""
    return [
        part
        for i, (word, style) in enumerate(entries)
        for part in (
            svg.dots([16], [18 + 18 * i], f"key {style}"),
            svg.text(26, 22 + 18 * i, word, class_="label"),
        )
    ]


def _x_axis(to_x: Any, values: list[float], y: svg.Number, pattern: str) -> list[Markup]:
    def tick(x: float, words: str) -> Markup:
        # Half of a word at the edge would lie outside the figure.
        return svg.text(x, y + 16, words, class_=f"tick {'end' if x > svg.WIDTH - 20 else 'middle'}")

    return [tick(float(to_x(v)), pattern.format(v)) for v in values]


def _y_axis(
    to_y: Any, values: list[float], left: svg.Number, right: svg.Number, pattern: str
) -> list[Markup]:
    return [
        part
        for v in values
        for part in (
            svg.line(left, to_y(v), right, to_y(v), "grid"),
            svg.text(left - 6, to_y(v) + 4, pattern.format(v), class_="tick end"),
        )
    ]


def _apart(positions: list[float], gap: float) -> list[float]:
    """The positions in their order, moved down where two lie closer than `gap`."""
    placed = list(positions)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + gap)
    return placed


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
