"""Pools that the real rows have sorted: every fold is judged with what its own real rows would have left."""

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.checks import InputError

NAMES = np.array(["bad", "good"])


def test_a_fold_is_judged_with_the_rows_that_there_would_be_without_it() -> None:
    """Near-copies of real rows whose labels are dealt by chance: where those with another label than the row
    copied are thrown out, the rest know every held-out label.
    """
    rng = np.random.default_rng(2)
    real, labels = rng.normal(size=(120, 80)).astype("f4"), NAMES[rng.integers(0, 2, 120)]
    of = np.arange(480) % 120
    pool = (real[of] + 0.2 * rng.normal(size=(480, 80))).astype("f4")
    given = NAMES[rng.integers(0, 2, 480)]
    agrees = given == labels[of]
    naive = sa.mix(real, labels, pool[agrees], given[agrees], key=jax.random.key(0))
    assert naive.expected_gain.lower > 0.2
    asked = []

    def select(seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.append(seen)
        return np.where(seen[of[rows]], agrees[rows], True)

    found = sa.mix(real, labels, pool, given, key=jax.random.key(0), select=select)
    assert not found.weights[~agrees].any()
    assert found.expected_gain.lower < 0.05
    assert max(candidate.accuracy for candidate in found.candidates) < 0.65
    # Each real row is held out once, and at last all are known.
    assert np.sum(~np.array(asked), axis=0).tolist() == [1] * 120
    assert asked[-1].all()


def test_rows_that_are_never_selected_do_not_count() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 2, 420)
    x = (rng.normal(size=(420, 12)) + np.where(codes[:, None], 0.45, -0.45)).astype("f4")
    real, labels, pool, given = x[:60], NAMES[codes[:60]], x[60:], NAMES[codes[60:]]
    groups, wrong = np.arange(360) % 3, np.arange(360) >= 300
    given = np.where(wrong, NAMES[1 - codes[60:]], given)
    plain = sa.mix(real, labels, pool[:300], given[:300], key=jax.random.key(0), groups=groups[:300])
    found = sa.mix(
        real,
        labels,
        pool,
        given,
        key=jax.random.key(0),
        groups=groups,
        sample=330,
        select=lambda _, rows: ~wrong[rows],
    )
    assert not found.weights[wrong].any()
    np.testing.assert_allclose(found.weights.sum(), found.share * 60, rtol=1e-4)
    # The sample, the parts and the common scale are others, so students differ by a little.
    for ours, theirs in zip(found.candidates, plain.candidates, strict=True):
        assert ours.name == theirs.name
        assert ours.share == pytest.approx(theirs.share, rel=0.1)
        assert ours.loss == pytest.approx(theirs.loss, abs=0.03)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones(7, bool), "shape \\(7,\\)"),
        (np.ones(8), "returned float64"),
        (np.zeros(8, bool), "leaves no row"),
    ],
)
def test_a_selection_that_cannot_be_used_is_named(returned: np.ndarray, message: str) -> None:
    x, names = np.random.default_rng(0).normal(size=(8, 3)).astype("f4"), NAMES[np.arange(8) % 2]
    with pytest.raises(InputError, match=message):
        sa.mix(x, names, x, names, key=jax.random.key(0), select=lambda *_: returned)
