"""The distance before and after, over the noise band."""

from __future__ import annotations

from markupsafe import Markup

from synalign_jax.evaluation import svg


def distance_figure(
    before: svg.Number, after: svg.Number | None, noise: tuple[svg.Number, svg.Number], *, name: str = "after"
) -> Markup:
    """MMD^2 before and after on a line, over the band in which real rows differ from real rows.

    Args:
        after: None where there are no weights.
        noise: the ends of the band; an end below zero (the unbiased estimate can be) is drawn at zero.
        name: of `after`.
    """
    low, high = (max(float(v), 0.0) for v in noise)
    first = max(float(before), 0.0)
    second = None if after is None else max(float(after), 0.0)
    top = 1.08 * (max(first, second or 0.0, high) or 1.0)
    left, right, y = 10, svg.WIDTH - 10, 58
    to_x = svg.scale(0, top, left, right)
    band, start = (float(to_x(low)), float(to_x(high))), float(to_x(first))
    end = None if second is None else float(to_x(second))

    def label(x: svg.Number, y: svg.Number, words: str, class_: str) -> Markup:
        anchor = "end" if x > svg.WIDTH * 0.66 else "start" if x < svg.WIDTH * 0.33 else "middle"
        return svg.text(x, y, words, class_=f"{class_} {anchor}")

    told = f"MMD squared {before:.2g} as generated"
    parts = [label(start, 14, f"as generated {first:.2g}", "label")]
    if end is not None and second is not None:
        told += f" and {after:.2g} {name}"
        parts = [
            svg.line(start, y, end, y, "travel"),
            svg.dots([start], [y], "dot before"),
            svg.dots([end], [y], "dot after"),
            *parts,
            label(end, 30, f"{name} {second:.2g}", "label strong"),
        ]
    else:
        parts.insert(0, svg.dots([start], [y], "dot after"))
    middle = (band[0] + band[1]) / 2
    return svg.figure(
        110,
        f"{told}; real against real up to {high:.2g}",
        svg.rect(band[0], y - 22, max(band[1] - band[0], 1.0), 44, "noise"),
        label(middle, y + 38, "real against real", "note"),
        svg.line(left, y, right, y, "rule"),
        *parts,
        svg.text(left, y + 38, "0", class_="note") if middle > svg.WIDTH * 0.33 else Markup(""),
    )
