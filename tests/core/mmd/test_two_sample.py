"""two_sample_test: its level under the null, its power off it, and weights."""

import jax
import numpy as np
import pytest

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import rbf
from synalign_jax.core.mmd.mmd import mmd2
from synalign_jax.core.mmd.two_sample import two_sample_test


def _p_values(shift: float, trials: int) -> np.ndarray:
    out = []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        x, y = rng.normal(size=(40, 3)), rng.normal(size=(50, 3)) + shift
        test = two_sample_test(
            x.astype("f4"), y.astype("f4"), key=jax.random.key(trial), permutations=99, kernel=rbf(2.0)
        )
        out.append(test.p_value)
    return np.array(out)


def test_level_is_kept() -> None:
    """p-values are uniform under the null: 400 trials, five standard errors."""
    p = _p_values(0.0, 400)
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) < 5 * np.sqrt(level * (1 - level) / 400)


def test_power_on_shifted_sets() -> None:
    assert np.mean(_p_values(0.6, 40) <= 0.05) > 0.9


def test_statistic_and_quantiles() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)).astype("f4"), rng.normal(size=(40, 3)).astype("f4")
    test = two_sample_test(x, y, key=jax.random.key(0), kernel=rbf(2.0))
    np.testing.assert_allclose(test.mmd2, mmd2(x, y, kernel=rbf(2.0)), rtol=1e-4)
    assert list(test.quantiles) == [0.5, 0.9, 0.95, 0.99]
    assert sorted(test.quantiles.values()) == list(test.quantiles.values())
    np.testing.assert_allclose(np.mean(test.null <= test.quantiles[0.9]), 0.9, atol=0.01)


def test_weights_mend_a_mixture() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype("f4")
    y = np.concatenate([rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 2.0]).astype("f4")
    weights = np.r_[np.ones(300), np.zeros(300)]
    assert two_sample_test(x, y, key=jax.random.key(0), kernel=rbf(2.0)).p_value < 0.01
    assert two_sample_test(x, y, key=jax.random.key(0), kernel=rbf(2.0), y_weights=weights).p_value > 0.05


def test_duplicates_are_ties_not_evidence() -> None:
    rows = np.ones((20, 3), np.float32)
    assert two_sample_test(rows, rows, key=jax.random.key(0), kernel=rbf(1.0)).p_value == 1.0


def test_bad_input_is_named() -> None:
    rows = np.zeros((5, 3), np.float32)
    with pytest.raises(InputError, match="y: 1 row"):
        two_sample_test(rows, rows[:1], key=jax.random.key(0))
    with pytest.raises(InputError, match="permutations: 0"):
        two_sample_test(rows, rows, key=jax.random.key(0), permutations=0)
    with pytest.raises(InputError, match="x_weights: row 1 is -1"):
        two_sample_test(rows, rows, key=jax.random.key(0), x_weights=[1, -1, 1, 1, 1])
