"""The report's opening sentences: what the numbers say, whichever way they point."""

from __future__ import annotations

from typing import Literal, NamedTuple

from synalign_jax.evaluation.scores import Estimate, StudentScore

from .facts import Distance
from .numbers import mmd2, points

Tone = Literal["good", "mixed", "bad"]


_ROUNDING = 1e-4


class Verdict(NamedTuple):
    tone: Tone
    headline: str
    detail: str


def distance_verdict(distance: Distance) -> Verdict:
    """Did alignment bring the synthetic rows as close to real rows as real rows are to each other?"""
    before, after, top = distance.before, distance.after, distance.noise[1]
    if before < -_ROUNDING or (after is not None and after < -max(_ROUNDING, top)):
        said = f"MMD² is {mmd2(before)} as generated" + (
            "" if after is None else f" and {mmd2(after)} aligned"
        )
        return Verdict(
            "bad",
            "The distances cannot be trusted: one came out below zero.",
            f"{said}, and no squared distance is negative."
            " Look for vectors of very large values, or of another model than the rest.",
        )
    if after is None:
        return _as_it_is(before, top)
    moved = f"MMD² went from {mmd2(before)} to {mmd2(after)}"
    if before <= top:
        if after <= top:
            return Verdict(
                "good",
                "The synthetic rows were already inside the noise band, and stayed there.",
                f"{moved}; real rows differ from other real rows by up to {mmd2(top)}. "
                "At this sample size there was nothing for alignment to gain.",
            )
        return Verdict(
            "bad",
            "Alignment did not help: it pushed the synthetic rows out of the noise band.",
            f"{moved}; real rows differ from other real rows by up to {mmd2(top)}. "
            "Use the rows as generated.",
        )
    if after <= top:
        return Verdict(
            "good",
            "Alignment brought the synthetic rows inside the noise band.",
            f"{moved}; real rows differ from other real rows by up to {mmd2(top)}, "
            "so this test cannot tell the aligned rows from real ones.",
        )
    if after >= before:
        return Verdict(
            "bad",
            "Alignment did not help: the synthetic rows are no closer to real ones.",
            f"{moved}; real rows differ from other real rows by only up to {mmd2(top)}.",
        )
    closed = (before - after) / (before - top)
    return Verdict(
        "mixed",
        f"Alignment closed {closed:.0%} of the gap to the noise band, and did not reach it.",
        f"{moved}; real rows differ from other real rows by only up to {mmd2(top)}. "
        "Weights cannot add what was never written: a larger or more varied pool may come closer.",
    )


def _as_it_is(value: float, top: float) -> Verdict:
    """Of rows without weights."""
    words = f"MMD² is {mmd2(value)}; real rows differ from other real rows by up to {mmd2(top)}"
    if value <= top:
        return Verdict(
            "good",
            "The synthetic rows are inside the noise band.",
            f"{words}, so this test cannot tell these rows from real ones.",
        )
    times = f"{value / top:.1f} times its end" if top > 0 else "beyond its end"
    return Verdict("mixed", f"The synthetic rows lie outside the noise band, at {times}.", f"{words}.")


def gain_verdict(score: StudentScore, baseline: str) -> Verdict:
    """Does a student trained on this set do better than one trained on the baseline set?"""
    gain = score.gain
    assert gain is not None
    words = f"{points(gain.value)} points of accuracy against “{baseline}” {_ends(gain)}"
    if gain.lower > 0:
        return Verdict("good", f"“{score.name}” trains a better student.", f"{words}.")
    if gain.upper < 0:
        return Verdict("bad", f"“{score.name}” trains a worse student.", f"{words}.")
    return Verdict(
        "mixed",
        f"“{score.name}” makes no difference that this test can see.",
        f"{words}: the interval holds zero.",
    )


def _ends(gain: Estimate) -> str:
    return f"[{points(gain.lower)}, {points(gain.upper)}]"
