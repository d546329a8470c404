"""The distance before and after, over the noise band."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from synalign_jax.evaluation import svg


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
