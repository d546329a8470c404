"""What was measured, as text, and the curve of both ways as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cells import ARMS, TASKS

Cells = Sequence[dict[str, Any]]


def of(cells: Cells, task: str, arm: str) -> list[dict[str, Any]]:
    return [cell for cell in cells if (cell["task"], cell["arm"]) == (task, arm)]


def reached(curve: Sequence[dict[str, float]], goal: float) -> float:
    """The calls after which a curve lies at `goal` or below, between its points; infinite if never."""
    before = None
    for point in curve:
        if point["weighted"] <= goal:
            if before is None or before["weighted"] == point["weighted"]:
                return point["calls"]
            part = (before["weighted"] - goal) / (before["weighted"] - point["weighted"])
            return before["calls"] + part * (point["calls"] - before["calls"])
        before = point
    return float("inf")


def write(cells: Cells, say: Callable[[str], None]) -> None:
    """Every table of what there is."""
    _curves(cells, say)
    _targets(cells, say)
    _rows(cells, say)
    _switches(cells, say)


def _curves(cells: Cells, say: Callable[[str], None]) -> None:
    say("Held-out MMD² to 1,000 real rows against calls, x 1,000. w: weighed as the loop does; p: plain")
    for task in TASKS:
        for arm in ("one-shot", "loop"):
            for cell in of(cells, task, arm):
                points = "  ".join(
                    f"{p['calls']}: {1e3 * p['weighted']:.1f} w {1e3 * p['plain']:.1f} p"
                    for p in cell["curve"]
                )
                say(f"  {task:<13} seed {cell['seed']}  {arm:<9} {points}")
    say("")


def _targets(cells: Cells, say: Callable[[str], None]) -> None:
    say("Calls at which the loop is as near as one-shot after all N calls (share of N; both weighed)")
    shares = []
    for task in TASKS:
        loops = {cell["seed"]: cell for cell in of(cells, task, "loop")}
        own = []
        for cell in of(cells, task, "one-shot"):
            if cell["seed"] in loops and cell["curve"]:
                goal = cell["curve"][-1]["weighted"]
                calls = reached(loops[cell["seed"]]["curve"], goal)
                own.append(calls / cell["calls"])
                found = f"{calls:.0f} of {cell['calls']}" if np.isfinite(calls) else "not reached"
                say(f"  {task:<13} seed {cell['seed']}  {found} ({own[-1]:.2f})")
        if own:
            shares.append(float(np.mean(own)))
    if shares:
        say(f"  mean over tasks: {np.mean(shares):.2f} of N (target: at most 0.50)")
    say("")


def _rows(cells: Cells, say: Callable[[str], None]) -> None:
    say("Rows kept, share of wrong labels by a strong student (its accuracy on test rows), and accuracy of a")
    say(
        "linear student of 200 real rows and the new ones (equal weights; the mixture's weights) on test rows"
    )
    gains = []
    for task in TASKS:
        for arm in ("one-shot", "loop", "without check"):
            for cell in of(cells, task, arm):
                accuracy = cell["accuracy"]
                say(
                    f"  {task:<13} seed {cell['seed']}  {arm:<13} {cell['rows']:>4} rows,"
                    f" {cell['calls']} calls,"
                    f" wrong {cell['wrong_labels']:.1%} ({cell['strong_accuracy']:.1%})"
                    f"  real alone {accuracy['real alone']:.3f}, plain {accuracy['plain']:.3f},"
                    f" mixed {accuracy['mixed']:.3f}"
                )
                reasons = Counter(cell["rejected"]).most_common(6)
                say(f"{'':<27}dropped: " + (", ".join(f"{n} {why}" for why, n in reasons) or "none"))
        pairs = [
            (one, ours)
            for one in of(cells, task, "one-shot")
            for ours in of(cells, task, "loop")
            if one["seed"] == ours["seed"]
        ]
        gains += [ours["accuracy"]["mixed"] - one["accuracy"]["mixed"] for one, ours in pairs]
    if gains:
        mean = 100 * np.mean(gains)
        say(f"  the loop's student less one-shot's, mean over {len(gains)} pairs: {mean:+.1f} points")
    say("")


def _switches(cells: Cells, say: Callable[[str], None]) -> None:
    some = [arm for arm in ARMS if arm.startswith("with") and any(cell["arm"] == arm for cell in cells)]
    if not some:
        return
    say("The loop with one part switched off (or on), at the same calls: held-out MMD² x 1,000, weighed")
    for task in TASKS:
        seeds = {cell["seed"] for arm in some for cell in of(cells, task, arm)}
        for seed in sorted(seeds):
            for arm in ("loop", *some):
                for cell in of(cells, task, arm):
                    if cell["seed"] == seed and cell["curve"]:
                        last = cell["curve"][-1]
                        say(
                            f"  {task:<13} seed {seed}  {arm:<26} {1e3 * last['weighted']:.1f}"
                            f"  ({cell['rows']} rows, wrong {cell['wrong_labels']:.1%},"
                            f" student {cell['accuracy']['mixed']:.3f})"
                        )
    say("")


def write_labels(draws: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    """What the check of labels leaves wrong, by its strictness."""
    say("Wrong labels, by a student of all other real rows, among the rows of all these cells together;")
    say("and what a check by a student of the 200 real rows leaves, by [judge] strictness (rows kept)")
    for draw in draws:
        line = (
            f"  {draw['task']:<13} seed {draw['seed']}  {draw['rows']:>4} rows, student {draw['student']:.1%}"
        )
        say(
            f"{line}: none {draw['wrong']:.1%}"
            + "".join(
                f"  {name} {draw[name]['wrong']:.1%} ({draw[name]['kept']:.0%})" for name in ("0.15", "auto")
            )
        )
        for n, few in draw.get("few", {}).items():
            shares = ", ".join(
                f"{wrong:.1%} ({kept:.0%})" for wrong, kept in zip(few["wrong"], few["kept"], strict=True)
            )
            say(f"    of {n} real rows, used in {few['used']} of {few['draws']} draws: {shares or 'none'}")
    say("")
