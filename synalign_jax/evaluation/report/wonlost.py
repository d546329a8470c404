"""What changed, in a sentence or two: the kinds of rows that won most and lost most."""

from __future__ import annotations

from collections.abc import Sequence

from .facts import Kind, Kinds
from .numbers import percent

_LEAST = 0.02  # a change of the share below which nothing is said


def won_and_lost(kinds: Sequence[Kinds]) -> list[str]:
    """Of everything that rows were told apart by, the kind that won most and the one that lost most."""
    found = [(own.name, kind) for own in kinds for kind in own.values]
    if not found:
        return []
    lines = []
    for words, (name, kind) in (
        ("Won most", max(found, key=lambda one: one[1].change)),
        ("Lost most", min(found, key=lambda one: one[1].change)),
    ):
        if (kind.change >= _LEAST) if words == "Won most" else (kind.change <= -_LEAST):
            lines.append(f"{words}: {name} “{kind.value}”, {_moved(kind)}.")
    return lines or ["The weights changed no share of these by two points or more."]


def _moved(kind: Kind) -> str:
    moved = f"from {percent(kind.pool)} of the rows to {percent(kind.weighted or 0.0)} of the weight"
    return moved if kind.real is None else f"{moved} (real rows: {percent(kind.real)})"
