import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import (
    Comparison,
    Estimate,
    StudentScore,
    accuracy_figure,
    coverage_figure,
    distance_figure,
    plane_figures,
    principal_plane,
    selection_figure,
    weight_figure,
)
from synalign_jax.evaluation.figures.axes import x_axis
from synalign_jax.evaluation.svg import WIDTH, document, scale, ticks


def _points(picture: str, kind: str) -> np.ndarray:
    (path,) = re.findall(rf'<path d="([^"]*)" class="point {kind}"', picture)
    return np.array([[float(v) for v in pair] for pair in re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", path)])


@pytest.mark.parametrize("width", [6, 400])
def test_the_plane_holds_the_variance_that_an_svd_finds(width: int) -> None:
    """Also where the rows are fewer than the columns, and the smaller Gram matrix is decomposed."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(80, width)) * [9, 5, *([1] * (width - 2))]
    pool = rng.normal(size=(80, width)) * [9, 5, *([1] * (width - 2))] + 0.5
    plane = principal_plane(real, pool)
    both = np.concatenate([real, pool])
    _, values, vectors = np.linalg.svd(both - both.mean(axis=0))
    assert plane.share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    np.testing.assert_allclose(np.abs(plane.axes @ vectors[:2].T), np.eye(2), atol=1e-6)


def test_a_large_pool_does_not_turn_the_plane_towards_itself() -> None:
    rng = np.random.default_rng(1)
    real, pool = rng.normal(size=(40, 4)), rng.normal(size=(40, 4)) + np.array([4, 0, 0, 0])
    once, often = principal_plane(real, pool), principal_plane(real, np.tile(pool, (25, 1)))
    np.testing.assert_allclose(once.axes, often.axes, atol=1e-9)


def test_real_rows_lie_at_the_same_places_before_and_after() -> None:
    rng = np.random.default_rng(2)
    real, pool = rng.normal(size=(40, 8)), rng.normal(size=(2_000, 8)) + 1
    before, after, share = plane_figures(real, pool, pool[:60])
    np.testing.assert_array_equal(_points(before, "real"), _points(after, "real"))
    assert len(_points(before, "real")) == 40
    assert len(_points(before, "synthetic")) == len(_points(after, "synthetic")) == 60
    assert 0 < share < 1
    everything = np.concatenate([_points(before, "synthetic"), _points(after, "synthetic")])
    assert everything.min() >= 0
    assert everything.max() <= 360 + 26


@pytest.mark.parametrize("width", [1, 2, 384])
def test_identical_rows_and_narrow_spaces_are_drawn(width: int) -> None:
    rows = np.ones((5, width), np.float32)
    before, _, _ = plane_figures(rows, rows, rows)
    ET.fromstring(before)


def test_the_histogram_counts_every_row_and_names_the_effective_size() -> None:
    weights = np.r_[np.zeros(30), np.full(70, 1 / 70)]
    picture = weight_figure(weights)
    assert "effective sample size 70" in picture
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" class="bar', picture)]
    assert max(heights) / sum(heights) == pytest.approx(0.7, abs=0.02)


def test_coverage_draws_a_band_only_for_what_was_repeated() -> None:
    picture = coverage_figure(
        {"GP": np.linspace(0.1, 0.9, 20), "random": np.random.default_rng(3).random((5, 20))}
    )
    assert picture.count("<polygon") == 1
    assert picture.count("<polyline") == 2
    assert "GP 90%" in picture
    for curves in ({}, {"GP": []}, {"GP": [np.nan]}):
        with pytest.raises(InputError, match="curves"):
            coverage_figure(curves)


def test_names_of_sets_are_escaped() -> None:
    estimate = Estimate(0.7, 0.6, 0.8)
    score = StudentScore("<b>\x00\ud800", 5, 5.0, estimate, estimate, 0.1, None)
    for picture in (
        accuracy_figure(Comparison((score,), score.name, 10, ("a",), 2, 0.95)),
        coverage_figure({"<b>\x00\ud800": [0.5, 0.6]}),
    ):
        ET.fromstring(picture)
        assert "<b>" not in picture


@given(st.tuples(*[st.floats(-1e-3, 1)] * 4))
def test_the_ruler_keeps_everything_inside(values: tuple[float, float, float, float]) -> None:
    before, after, *band = values
    picture = distance_figure(before, after, (min(band), max(band)))
    for x in re.findall(r' (?:x|x1|x2)="(-?[\d.]+)"', picture):
        assert 0 <= float(x) <= 360


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    values = ticks(low, low + span)
    assert 1 <= len(values) <= 6
    assert low - 1e-6 * span <= values[0]
    assert values[-1] <= low + span * (1 + 1e-6)


def test_chosen_rows_lie_where_the_pool_has_them() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 6))
    clusters = np.array([[4, 7, 9], [20, 21, 30]])
    picture = selection_figure(rows, clusters)
    pool, chosen, centers = (_points(picture, kind) for kind in ("real", "chosen", "center"))
    np.testing.assert_array_equal(centers, pool[[4, 20]])
    np.testing.assert_array_equal(chosen, pool[[7, 9, 21, 30]])


@pytest.mark.parametrize("width", [1, 2])
def test_single_rows_and_narrow_pools_can_be_drawn(width) -> None:
    rows = np.random.default_rng(4).normal(size=(5, width))
    root = ET.fromstring(document(selection_figure(rows, [[3], [1]])))
    assert len(root.findall(".//{*}path[@class='point center']")) == 1


def test_a_tick_at_the_edge_stays_inside() -> None:
    marks = x_axis(scale(0.0, 1.0, 10, WIDTH - 14), [0.5, 1.0], 100, "{:.0%}")
    assert "tick middle" in marks[0]
    assert "tick end" in marks[1]
