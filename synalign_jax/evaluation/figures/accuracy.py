"""Accuracy of students, with intervals."""

from __future__ import annotations

from markupsafe import Markup

from synalign_jax.evaluation import svg
from synalign_jax.evaluation.scores import Comparison

from .axes import short, x_axis


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
            svg.text(left, y - 14, short(s.name, 44), class_="label"),
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
        *x_axis(to_x, svg.ticks(low, high, 7), bottom, "{:.0%}" if high - low > 0.05 else "{:.1%}"),
    )
