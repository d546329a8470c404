"""Rows of several labels: each label by itself, and the mean of what suits them."""

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.checks import InputError

KEY = jax.random.key(3)
TIGHT = {"shares": (2.0,), "sample": 200}


def _rows(
    rng: np.random.Generator, rows: int, *, right: float = 1.0
) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Vectors whose first two columns say which of two labels a row has; `right` of the labels hold."""
    has = rng.random((rows, 2)) < 0.5
    vectors = rng.normal(size=(rows, 4)).astype("f4")
    vectors[:, :2] += np.where(has, 1.2, -1.2)
    held = np.where(rng.random((rows, 2)) < right, has, ~has)
    return vectors, [tuple(name for name, one in zip("ab", row, strict=True) if one) for row in held]


@pytest.fixture(scope="module")
def given() -> tuple:
    rng = np.random.default_rng(0)
    return (*_rows(rng, 40), *_rows(rng, 120))


def test_the_weights_are_the_mean_of_those_that_suit_each_label(given: tuple) -> None:
    real, of_real, pool, of_pool = given
    found = sa.mix(real, of_real, pool, of_pool, key=KEY, **TIGHT)
    names = sorted("ab", key=lambda name: (-sum(name in row for row in of_real), name))
    each = [
        sa.mix(
            real, [name in row for row in of_real], pool, [name in row for row in of_pool],
            key=jax.random.fold_in(KEY, number), **TIGHT,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    helped = [one for one in each if one.weights.any()]
    assert len(helped) == 2
    np.testing.assert_allclose(found.weights, np.mean([one.weights for one in helped], axis=0), rtol=1e-6)
    assert found.verdict.decision != "do not use"
    assert "help with 2 of 2 labels" in found.verdict.text
    for place, candidate in enumerate(found.candidates):
        assert candidate.loss == pytest.approx(np.mean([one.candidates[place].loss for one in each]))
    assert found.expected_gain.value == pytest.approx(np.mean([one.expected_gain.value for one in each]))
    assert found.labels == pytest.approx(
        {name: found.weights[[name in row for row in of_pool]].sum() for name in "ab"}
    )
    assert found.share == pytest.approx(found.weights.sum() / 40)


def test_labels_of_chance_are_not_used_and_sets_are_as_good_as_tuples(given: tuple) -> None:
    real, of_real, _, _ = given
    pool, made = _rows(np.random.default_rng(1), 120, right=0.5)
    found = sa.mix(real, list(map(set, of_real)), pool, list(map(frozenset, made)), key=KEY, **TIGHT)
    assert found.verdict.decision == "do not use"
    assert not found.weights.any()
    assert found.chosen is not None
    assert found.chosen.share == 0


def test_labels_that_are_too_rare_are_said_and_none_left_means_not_judged(given: tuple) -> None:
    real, of_real, pool, of_pool = given
    rare = [(*row, "rare") if number < 3 else row for number, row in enumerate(of_real)]
    found = sa.mix(real, rare, pool, of_pool, key=KEY, **TIGHT)
    assert "1 rarer ones were not judged" in found.verdict.text
    nothing = sa.mix(real, [("x",)] * 40, pool, [("x",)] * 120, key=KEY)
    assert nothing.verdict.decision == "unknown"


def test_sets_of_another_number_are_refused(given: tuple) -> None:
    real, of_real, pool, of_pool = given
    with pytest.raises(InputError, match="pool_labels: 119 sets of labels for 120 rows"):
        sa.mix(real, of_real, pool, of_pool[1:], key=KEY)
