"""The few SVG parts that the figures need. Looks come from classes in the report's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from .cleaning import readable

Number = int | float | np.integer | np.floating

# A figure is drawn at the width of a phone, so that its text stays legible there; a desktop shows it larger.
WIDTH = 360


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """<tag ...>children</tag>; all but Markup is made readable and escaped. `text_anchor` becomes
    text-anchor, `class_` class."""
    parts = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
    )
    inside = Markup("").join(
        child if isinstance(child, Markup) else escape(readable(child)) for child in children
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), parts, inside)  # noqa: S704


def figure(height: Number, label: str, *children: str) -> Markup:
    """An <svg> of the common width; `label` is read out to those who cannot see it."""
    return element("svg", *children, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label)


def stylesheet() -> str:
    """The looks of all figures, in light and in dark."""
    return files("synalign_jax.evaluation").joinpath("assets", "figures.css").read_text(encoding="utf-8")


def document(picture: Markup) -> str:
    """A figure as an SVG file of its own: named as XML, with its style sheet and a ground to lie on."""
    head, body = picture.split(">", 1)
    ground = rect(0, 0, 10_000, 10_000, "ground")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{stylesheet()}</style>{ground}{body}\n'


def text(x: Number, y: Number, content: str, **attributes: object) -> Markup:
    return element("text", content, x=x, y=y, **attributes)


def line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: Number, y: Number, width: Number, height: Number, class_: str) -> Markup:
    return element("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)


def circle(x: Number, y: Number, radius: Number, class_: str) -> Markup:
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def polyline(x: Iterable[Number], y: Iterable[Number], class_: str) -> Markup:
    return element("polyline", points=_points(x, y), class_=class_)


def polygon(x: Iterable[Number], y: Iterable[Number], class_: str) -> Markup:
    return element("polygon", points=_points(x, y), class_=class_)


def dots(x: Iterable[Number], y: Iterable[Number], class_: str) -> Markup:
    """Round points of one size (the class's stroke-width) as a single path: small, and quick to draw."""
    path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    return element("path", d=Markup(path), class_=class_)  # noqa: S704


def scale(low: Number, high: Number, start: Number, end: Number) -> Callable[[Any], Any]:
    """The map of numbers or arrays that takes [low, high] to [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low: Number, high: Number, count: int = 5) -> list[float]:
    """At most `count` + 1 round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    raw = (high - low) / max(count, 1)
    if not raw > 0:
        return [float(low)]
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(i * step), 12) + 0.0 for i in np.arange(first, last + 1)]  # -0.0 + 0.0 is 0.0


def _plain(value: object) -> str:
    if isinstance(value, Markup):
        return value
    return f"{value:.1f}" if isinstance(value, float | np.floating) else readable(str(value))


def _points(x: Iterable[Number], y: Iterable[Number]) -> Markup:
    return Markup(" ").join(Markup(f"{a:.1f},{b:.1f}") for a, b in zip(x, y, strict=True))  # noqa: S704
