"""Rows and weights by model, against sums made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.evaluation.report import render_report
from synalign_jax.evaluation.report.by_model import by_model
from synalign_jax.evaluation.report.facts import ReportFacts


def test_rows_mean_weight_and_share() -> None:
    found = by_model(["a", "b", "a", "a", "b"], np.array([1.0, 4.0, 0.0, 2.0, 1.0]))
    assert [(one.model, one.rows) for one in found] == [("a", 3), ("b", 2)]
    assert [one.weight for one in found] == pytest.approx([(3 / 3) / (8 / 5), (5 / 2) / (8 / 5)])
    assert [one.weight_share for one in found] == pytest.approx([3 / 8, 5 / 8])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000)), min_size=1, max_size=40),
    st.floats(0.01, 100),
)
def test_neither_scale_nor_order_matters_and_nothing_is_lost(
    rows: list[tuple[str, int]], scale: float
) -> None:
    weights = np.array([float(weight) for _, weight in rows])
    found = by_model([model for model, _ in rows], weights)
    other = by_model([model for model, _ in rows[::-1]], scale * weights[::-1])
    assert [one.model for one in found] == [one.model for one in other]
    for one, two in zip(found, other, strict=True):
        assert (one.rows, one.weight) == (two.rows, pytest.approx(two.weight))
    assert sum(one.rows for one in found) == len(rows)
    assert sum(one.weight_share for one in found) == pytest.approx(1.0 if weights.sum() else 0.0)
    assert sum(one.rows * one.weight for one in found) == pytest.approx(len(rows) if weights.sum() else 0.0)


def test_no_rows_no_models_and_a_weight_too_many_is_an_error() -> None:
    assert by_model([], np.zeros(0)) == ()
    with pytest.raises(ValueError, match="1 rows and 2 weights"):
        by_model(["a"], np.ones(2))


def test_the_report_tells_several_models_apart_and_says_nothing_of_one() -> None:
    hostile = "<script>alert(1)</script>"
    two = by_model(["a", "a", hostile], np.array([1.0, 1.0, 4.0]))
    page = render_report(ReportFacts("t", "today", models=two))
    assert "By model" in page
    assert "66.7%" in page  # the share of the weights
    assert hostile not in page
    one = render_report(ReportFacts("t", "today", models=by_model(["a"], np.ones(1))))
    assert "By model" not in one
