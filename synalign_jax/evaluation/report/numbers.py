"""Numbers as words, the same in the page and in the terminal."""

from __future__ import annotations

from .facts import Distance


def mmd2(value: float) -> str:
    """The distance, in its one unit: five decimals, or two figures where these would show nothing."""
    return (f"{value:.5f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}").replace("-", "−")


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{share:.1%}"


def distance_lines(distance: Distance) -> list[str]:
    """The distance for a terminal, as the page has it."""
    low, high = distance.noise
    lines = [f"MMD² to {distance.rows}", f"  synthetic as generated   {mmd2(distance.before)}"]
    if distance.after is not None:
        lines.append(f"  weighted                 {mmd2(distance.after)}")
    if distance.drawn is not None:
        lines.append(f"  resampled                {mmd2(distance.drawn)}")
    lines.append(f"  real rows themselves     {mmd2(low)} to {mmd2(high)}   (5 % to 95 % of random splits)")
    return lines
