"""The arithmetic by which the loop is compared with one-shot generation."""

import pytest

from benchmarks.loop.tables import reached, write


def _curve(*points: tuple[int, float]) -> list[dict]:
    return [{"calls": c, "rows": 3 * c, "weighted": d, "plain": 2 * d} for c, d in points]


def test_the_calls_at_which_a_curve_reaches_a_distance() -> None:
    curve = _curve((4, 0.10), (8, 0.06), (16, 0.02))
    assert reached(curve, 0.04) == pytest.approx(12)
    assert reached(curve, 0.5) == 4
    assert reached(curve, 0.06) == 8
    assert reached(curve, 0.01) == float("inf")


def test_what_was_missed_is_printed_like_what_was_reached() -> None:
    def cell(arm: str, *points: tuple[int, float]) -> dict:
        return {
            "task": "sst2-like", "arm": arm, "seed": 0, "calls": 16, "rows": 48, "curve": _curve(*points),
            "rejected": {"repeats itself": 3}, "wrong_labels": 0.2, "strong_accuracy": 0.8,
            "accuracy": {"real alone": 0.7, "plain": 0.71, "mixed": 0.72},
        }  # fmt: skip

    lines: list[str] = []
    write([cell("one-shot", (8, 0.06), (16, 0.03)), cell("loop", (8, 0.05), (16, 0.04))], lines.append)
    text = "\n".join(lines)
    assert "not reached (inf)" in text
    assert "mean over tasks: inf of N" in text
    assert "dropped: 3 repeats itself" in text
