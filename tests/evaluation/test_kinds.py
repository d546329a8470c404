"""Which kinds of rows won and lost, against counts by hand."""

import numpy as np
import pytest

from synalign_jax.evaluation.report.facts import Kind, Kinds
from synalign_jax.evaluation.report.kinds import (
    attribute_kinds,
    kinds_by,
    kinds_of_sets,
    ranges,
    weights_facts,
    weights_shown,
    word_kinds,
)
from synalign_jax.evaluation.report.wonlost import won_and_lost


def _shares(kinds: Kinds | None) -> dict[str, tuple[float | None, float, float | None]]:
    assert kinds is not None
    return {kind.value: (kind.real, kind.pool, kind.weighted) for kind in kinds.values}


def test_shares_are_of_real_rows_of_the_pool_and_of_its_weight() -> None:
    kinds = kinds_by("label", ["a", "a", "a", "b"], np.array([1.0, 1.0, 2.0, 4.0]), ["b", "b", "c", "a"])
    assert _shares(kinds) == {"a": (0.25, 0.75, 0.5), "b": (0.5, 0.25, 0.5), "c": (0.25, 0.0, 0.0)}


def test_what_real_rows_do_not_have_is_not_compared_with_them() -> None:
    kinds = kinds_by("model", ["x", "y"], None)
    assert _shares(kinds) == {"x": (None, 0.5, None), "y": (None, 0.5, None)}
    assert kinds_by("model", ["x", "x"], np.ones(2)) is None


def test_of_many_values_those_that_changed_most_are_shown_and_the_others_counted() -> None:
    values = [f"v{i}" for i in range(30)]
    weights = np.ones(30)
    weights[17] = 9.0
    kinds = kinds_by("source", values, weights, most=5)
    assert kinds is not None
    assert (len(kinds.values), kinds.left_out) == (5, 25)
    assert "v17" in _shares(kinds)


def test_attributes_are_values_that_come_more_than_once_lists_value_by_value() -> None:
    rows = [{"tone": ["dry", "short"], "id": i} for i in range(4)] + [{"tone": "warm", "id": 9}] * 3
    weights = np.array([1.0] * 4 + [4 / 3] * 3)
    (tone, *others) = attribute_kinds(rows, weights)
    assert tone.name == "tone"
    assert _shares(tone)["dry"][1:] == (4 / 11, pytest.approx(4 / 12))
    assert _shares(tone)["warm"][1:] == (3 / 11, pytest.approx(4 / 12))
    assert [kinds.name for kinds in others] == ["id"]
    assert list(_shares(others[0])) == ["9"]


def test_words_that_won_come_first_and_chance_is_not_shown_as_change() -> None:
    pool = ["the good film"] * 20 + ["the bad film"] * 20 + ["the odd film"] * 20
    weights = np.array([3.0] * 20 + [1.0] * 20 + [2.0] * 20)
    found = _shares(word_kinds(pool, weights, ["a good film", "a film"]))
    assert list(found) == ["good", "bad"]
    assert found["good"] == (0.5, pytest.approx(1 / 3), pytest.approx(0.5))
    assert found["bad"] == (0.0, pytest.approx(1 / 3), pytest.approx(1 / 6))
    assert word_kinds(["one"], np.ones(1), None) is None


def test_numbers_become_fifths_of_the_real_ones() -> None:
    real = list(range(101))
    names = ranges([0, 19.5, 100, None, 500, -3], real)
    assert names == ["0 to 20", "0 to 20", "80 to 100", "missing", "80 to 100", "0 to 20"]
    assert ranges(["a", "b"], ["a", "b"]) is None
    assert ranges([True, False], [True, False]) is None
    assert ranges([1, 2], [1, 2]) is None


def test_the_spread_of_weights_is_told_in_rows() -> None:
    facts = weights_facts(np.r_[np.zeros(50), np.ones(40), np.full(10, 4.0)])
    assert (facts.rows, facts.light) == (100, 50)
    assert facts.heavy_share == pytest.approx(0.5)
    assert facts.effective == pytest.approx(80**2 / (40 + 160))


def test_weights_that_say_nothing_give_way_to_those_of_the_distribution() -> None:
    distribution = np.array([0.2, 0.8])
    for training, words in ((np.zeros(2), "No row is worth"), (np.full(2, 0.4), "all rows count alike")):
        shown, note = weights_shown(training, distribution)
        np.testing.assert_array_equal(shown, distribution)
        assert words in note
    training = np.array([0.4, 0.5])
    assert weights_shown(training, distribution)[0] is training


def test_the_sentence_names_the_kind_that_won_most_and_the_one_that_lost_most() -> None:
    label = Kinds("label", (Kind("x", 0.5, 0.2, 0.5), Kind("y", 0.5, 0.8, 0.5)))
    source = Kinds("source", (Kind("a", None, 0.5, 0.9), Kind("b", None, 0.5, 0.1)))
    assert won_and_lost([label, source]) == [
        "Won most: source “a”, from 50.0% of the rows to 90.0% of the weight.",
        "Lost most: source “b”, from 50.0% of the rows to 10.0% of the weight.",
    ]
    assert "(real rows: 50.0%)" in won_and_lost([label])[0]
    still = Kinds("label", (Kind("x", 0.5, 0.5, 0.51), Kind("y", 0.5, 0.5, 0.49)))
    assert won_and_lost([still]) == ["The weights changed no share of these by two points or more."]
    assert won_and_lost([]) == []


def test_of_several_values_a_row_each_has_its_share_of_the_rows() -> None:
    kinds = kinds_of_sets("label", [("a", "b"), ("b",), ()], np.array([3.0, 1.0, 0.0]), [("a",), ("a", "b")])
    assert kinds is not None
    assert [(k.value, k.real, k.weighted) for k in kinds.values] == [("a", 1.0, 0.75), ("b", 0.5, 1.0)]
    assert [k.pool for k in kinds.values] == pytest.approx([1 / 3, 2 / 3])
    assert kinds_of_sets("label", [("a",), ()], None, [("a",)]) is None
