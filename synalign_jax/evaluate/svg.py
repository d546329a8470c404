"""The few SVG parts that the figures need. Looks come from classes in the report's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from markupsafe import Markup, escape

# A figure is drawn at the width of a phone, so that its text stays legible there; a desktop shows it larger.
WIDTH = 360


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """<tag ...>children</tag> with everything but Markup escaped; `class_` and `text_anchor` lose or turn
    their underscore."""
    parts = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), parts, inside)  # noqa: S704


def figure(height: float, label: str, *children: str) -> Markup:
    """An <svg> of the common width; `label` is read out to those who cannot see it."""
    return element("svg", *children, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label)


def text(x: float, y: float, content: str, **attributes: object) -> Markup:
    return element("text", content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    return element("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)


def polyline(x: Iterable[float], y: Iterable[float], class_: str) -> Markup:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return element("polyline", points=points, class_=class_)


def dots(x: Iterable[float], y: Iterable[float], class_: str) -> Markup:
    """Round points of one size (the class's stroke-width) as a single path: small, and quick to draw."""
    path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
    return element("path", d=path, class_=class_)


def scale(low: float, high: float, start: float, end: float) -> Callable[[Any], Any]:
    """The map of numbers or arrays that takes [low, high] to [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    raw = (high - low) / max(count, 1)
    if not raw > 0:
        return [low]
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(i * step), 12) for i in np.arange(first, last + 1)]


def _plain(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float | np.floating) else str(value)
