"""How the distance fell from wave to wave of generation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import svg

from .axes import strip, x_axis, y_axis


def course_figure(
    spent: Sequence[svg.Number],
    distances: Sequence[float],
    bands: Sequence[float | None],
    gains: Sequence[float | None],
    *,
    unit: str,
) -> Markup:
    """Held-out MMD^2 after every wave against what was spent until then, with the expected gain of another.

    Args:
        spent, distances: (waves,) finite, in order.
        bands: the noise band's end at each; None where it is not known.
        gains: the share of the distance that one more wave was expected to take away; None where unknown.
        unit: what was spent: "rows", "calls" or "cost".
    """
    if not len(spent) or not (len(spent) == len(distances) == len(bands) == len(gains)):
        raise InputError("course: give as many values of each, one a wave at least")
    height, top, bottom, left, right = 236, 34, 190, 56, svg.WIDTH - 14
    x, y = np.asarray(spent, np.float64), np.maximum(np.asarray(distances, np.float64), 0.0)
    to_x = svg.scale(0, 1.04 * float(x.max()) or 1.0, left, right)
    to_y = svg.scale(0, 1.1 * float(y.max()) or 1.0, bottom, top)
    last_band = next((band for band in reversed(bands) if band is not None), None)
    parts, entries = [], [("distance", "curve series1")]
    if last_band is not None:
        edge = float(to_y(min(last_band, 1.1 * float(y.max()) or 1.0)))
        parts.append(svg.rect(left, edge, right - left, bottom - edge, "noise"))
        entries.append(("noise band", "noise"))
    parts.append(svg.polyline(to_x(x), to_y(y), "curve series1"))
    parts.append(svg.dots(to_x(x), to_y(y), "dot small synthetic"))
    known = [number for number, gain in enumerate(gains) if gain is not None]
    last = next((gain for gain in reversed(gains) if gain is not None), None)
    # The first and the last expectation: more of them would lie over each other.
    for number in {*known[:1], *known[-1:]}:
        at, value, gain = float(to_x(x[number])), float(to_y(y[number])), gains[number]
        anchor = "end" if at > right - 24 else "middle"
        parts.append(svg.text(at, value - 9, f"−{gain:.0%}", class_=f"note {anchor}"))
    told = "" if last is None else f"; another wave was last expected to take away {last:.0%} of it"
    pattern = "{:,.0f}" if x.max() >= 10 else "{:.2g}"
    return svg.figure(
        height,
        f"Held-out MMD squared from {y[0]:.2g} after the first wave to {y[-1]:.2g} after {len(y)} waves and"
        f" {pattern.format(x[-1])} {unit}{told}",
        *strip(entries, left),
        *y_axis(to_y, svg.ticks(0, 1.1 * float(y.max()), 4), left, right, "{:.3g}"),
        *parts,
        *x_axis(to_x, svg.ticks(0, 1.04 * float(x.max()), 5), bottom, pattern),
        svg.text((left + right) / 2, height - 10, unit, class_="title middle"),
    )
