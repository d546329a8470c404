"""What `mix` promises: scale, invariances, the table behind the choice, and what it refuses."""

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.checks import InputError

NAMES = np.array(["bad", "good"])


def _rows(rng: np.random.Generator, count: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    codes = rng.integers(0, 2, count)
    codes[:2] = 0, 1
    x = rng.normal(size=(count, 12)) + np.where(codes[:, None], 0.45, -0.45)
    return (x + shift).astype("f4"), NAMES[codes]


def _mix(n: int = 40, m: int = 240, seed: int = 0, **changes: object) -> sa.Mixture:
    rng = np.random.default_rng(seed)
    real, pool = _rows(rng, n), _rows(rng, m)
    given = {"real": real[0], "real_labels": real[1], "pool": pool[0], "pool_labels": pool[1]} | changes
    positional = [given.pop(name) for name in ("real", "real_labels", "pool", "pool_labels")]
    return sa.mix(*positional, key=jax.random.key(seed), **given)


def test_a_pool_of_the_real_rows_own_kind_is_used_on_the_scale_of_real_rows() -> None:
    found = _mix()
    assert found.verdict.decision in ("use", "use at this share")
    assert found.weights.shape == (240,)
    assert np.all(found.weights >= 0)
    np.testing.assert_allclose(found.weights.sum(), found.share * 40, rtol=1e-4)
    np.testing.assert_allclose(sum(found.labels.values()), found.weights.sum(), rtol=1e-4)
    assert found.loss_gain.lower < found.loss_gain.value < found.loss_gain.upper
    assert found.candidates[0].name == "real rows alone"
    assert sum(candidate.chosen for candidate in found.candidates) == 1
    assert found.chosen is not None
    assert found.chosen.share == pytest.approx(found.share, rel=1e-4)


def test_labels_of_pure_noise_are_refused_and_right_ones_used() -> None:
    refused, used = 0, 0
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        noise = _mix(n=200, m=1_000, seed=seed, pool_labels=NAMES[rng.integers(0, 2, 1_000)])
        assert (noise.verdict.decision == "do not use") == (not noise.weights.any())
        refused += noise.verdict.decision == "do not use"
        used += _mix(n=40, m=1_000, seed=seed).share >= 1.0
    # One pool in ten of this kind is used all the same; four of five right with that chance: 92 %.
    assert refused >= 4
    assert used >= 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool_labels": None}, "one side only"),
        ({"real_labels": ["good"] * 40}, "every real row is labelled 'good'"),
        ({"real_labels": ["good", "bad"]}, "2 labels for 40 rows"),
        ({"pool_labels": ["other"] * 240}, "no row of the pool has a label"),
        ({"pool_labels": [None] * 240}, "row 0 has none"),
        ({"pool": np.zeros((240, 3), "f4")}, "3 wide, 12 expected"),
        ({"pool": np.full((240, 12), np.nan, "f4")}, "row 0, column 0 is nan"),
        ({"shares": ()}, "shares"),
        ({"shares": (0.0,)}, "shares"),
        ({"groups": [1, 2]}, "2 for 240 rows"),
    ],
)
def test_what_cannot_be_mixed_is_named(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _mix(**changes)
