"""What another wave is expected to bring, on curves whose law is known, and when to stop."""

import pytest

from synalign_jax.pipeline.loop.course import (
    IN_BAND,
    NO_GAIN,
    NO_LOSS_GAIN,
    Point,
    ahead,
    expected_gain,
    reason_to_stop,
)


def _curve(a: float, b: float, rows: list[int]) -> list[float]:
    return [a + b / m for m in rows]


@pytest.mark.parametrize(("a", "b"), [(0.01, 1.0), (0.0, 2.0), (0.05, 0.5)])
def test_a_curve_of_the_law_is_continued(a: float, b: float) -> None:
    rows = [20, 40, 60, 80]
    now, then = a + b / 80, a + b / 100
    assert expected_gain(rows, _curve(a, b, rows), 20) == pytest.approx((now - then) / now, rel=1e-6)


def test_a_distance_that_stands_still_promises_nothing() -> None:
    assert expected_gain([20, 40, 60], [0.03, 0.03, 0.03], 20) == 0
    assert expected_gain([20, 40, 60], [0.02, 0.03, 0.04], 20) == 0


def test_a_line_that_would_fall_below_zero_is_held_there() -> None:
    # The line through the origin: b = 1.35 / 0.175, and ten rows more take b (1/40 - 1/50) of 0.05 away.
    assert expected_gain([10, 20, 40], [1.0, 0.3, 0.05], 10) == pytest.approx(1.35 / 0.175 * 0.005 / 0.05)
    assert expected_gain([10, 20, 40], [1.0, 0.3, 0.05], 40) == 1  # more than all cannot be taken


def test_few_waves_say_nothing() -> None:
    assert expected_gain([20, 40], [0.03, 0.02], 20) is None
    assert expected_gain([20, 40, 60], [0.03, float("nan"), 0.02], 20) is None
    assert expected_gain([60, 60, 60], [0.03, 0.03, 0.02], 20) is None


def _point(distance: float | None, gain: float | None = None) -> Point:
    return Point(4, 80, 16, 900, None, distance, distance, 0.01, gain)


def test_reasons_to_stop() -> None:
    assert reason_to_stop([_point(0.009)], in_band=True, min_gain=0) == IN_BAND
    assert reason_to_stop([_point(0.009)], in_band=False, min_gain=0) is None
    assert reason_to_stop([_point(0.02, 0.01)], in_band=True, min_gain=0.02) == NO_GAIN
    assert reason_to_stop([_point(0.02, 0.03)], in_band=True, min_gain=0.02) is None
    assert reason_to_stop([_point(0.02, None)], in_band=True, min_gain=0.02) is None
    assert reason_to_stop([_point(None)], in_band=True, min_gain=0.02) is None


def test_a_students_loss_falls_with_the_real_rows_and_the_new_ones() -> None:
    """The real rows alone are the curve's first point, so that two waves say something."""

    def law(rows: int) -> float:
        return 0.3 + 12 / rows

    points = [
        Point(wave, rows, wave, 0, None, None, None, None, loss=law(50 + rows), loss_alone=law(50))
        for wave, rows in ((1, 20), (2, 40))
    ]
    last = ahead(points, 20, 50)
    assert last.gain is None
    assert last.loss_gain == pytest.approx((law(90) - law(110)) / law(90), rel=1e-6)
    assert ahead(points[:1], 20, 50).loss_gain is None
    assert reason_to_stop([last], in_band=True, min_gain=0.5, min_loss_gain=0.01) is None
    assert reason_to_stop([last], in_band=True, min_gain=0.0, min_loss_gain=0.5) == NO_LOSS_GAIN
