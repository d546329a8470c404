"""Shares of rows by kind: real, as generated and weighted, one line a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import svg

from .axes import short, strip, x_axis

_LINE = 26


class Shares(NamedTuple):
    """Shares of one kind of rows: of real rows (None: they have no such kinds), as generated, weighted."""

    name: str
    real: svg.Number | None
    before: svg.Number
    after: svg.Number | None


def shares_figure(kinds: Sequence[Shares]) -> Markup:
    """A ring for the share as generated, a dot for the weighted one, and a bar where the real rows are.

    Three shapes, so that nothing hangs on colours.
    """
    if not kinds:
        raise InputError("kinds: none; give one at least")
    largest = max(max(k.real or 0.0, k.before, k.after or 0.0) for k in kinds)
    letters = 16 if all(len(kind.name) <= 16 for kind in kinds) else 24
    left, right, top = 128 if letters == 16 else 176, svg.WIDTH - 12, 30
    bottom = top + _LINE * len(kinds)
    high = max(1.05 * largest, 0.001)
    to_x = svg.scale(0, high, left, right)
    parts, told = [], []
    for number, kind in enumerate(kinds):
        y = top + _LINE * number + _LINE / 2
        before = float(to_x(kind.before))
        parts += [
            svg.text(left - 10, y + 4, short(kind.name, letters), class_="label small-label end"),
            svg.line(left, y, right, y, "grid"),
        ]
        words = [] if kind.real is None else [f"real {kind.real:.1%}"]
        words.append(f"as generated {kind.before:.1%}")
        if kind.real is not None:
            at = float(to_x(kind.real))
            parts.append(svg.line(at, y - 9, at, y + 9, "bar-mark real"))
        if kind.after is not None:
            after = float(to_x(kind.after))
            parts += [svg.line(before, y, after, y, "travel"), svg.circle(before, y, 4.5, "ring")]
            parts.append(svg.dots([after], [y], "dot small synthetic"))
            words.append(f"weighted {kind.after:.1%}")
        else:
            parts.append(svg.circle(before, y, 4.5, "ring"))
        told.append(f"{kind.name}: {', '.join(words)}")
    entries = [("real", "bar-mark real")] if kinds[0].real is not None else []
    entries.append(("as generated", "ring"))
    if kinds[0].after is not None:
        entries.append(("weighted", "dot small synthetic"))
    ticks = svg.ticks(0, high, 4)
    pattern = "{:.0%}" if all(abs(100 * t - round(100 * t)) < 1e-9 for t in ticks) else "{:.1%}"
    return svg.figure(
        bottom + 22,
        "Shares of rows. " + "; ".join(told),
        *strip(entries),
        *parts,
        *x_axis(to_x, ticks, bottom, pattern),
    )
