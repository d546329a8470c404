"""What the chosen rows cover, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import svg

from .axes import apart, short, x_axis, y_axis


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
    ends = apart([float(to_y(c.mean(axis=0)[-1])) for c in lines.values()], 14.0)
    parts = []
    for number, ((name, curve), label_y) in enumerate(zip(lines.items(), ends, strict=True)):
        x, mean, style = to_x(np.arange(1, curve.shape[1] + 1)), curve.mean(axis=0), f"series{number % 4}"
        if len(curve) > 1:
            outline = np.concatenate([curve.max(axis=0), curve.min(axis=0)[::-1]])
            parts.append(svg.polygon(np.concatenate([x, x[::-1]]), to_y(outline), f"band {style}"))
        parts.append(svg.polyline(x, to_y(mean), f"curve {style}"))
        parts.append(svg.text(x[-1] + 6, label_y + 4, short(name, 12), class_=f"label {style}"))
    summary = ", ".join(f"{name} {curve.mean(axis=0)[-1]:.0%}" for name, curve in lines.items())
    return svg.figure(
        height,
        f"Coverage after {rounds} rounds: {summary}",
        *y_axis(to_y, svg.ticks(0, highest), left, right, "{:.0%}"),
        *parts,
        *x_axis(to_x, [t for t in svg.ticks(1, rounds) if t == int(t)], bottom, "{:g}"),
        svg.text((left + right) / 2, height - 6, "rounds", class_="title middle"),
    )
