"""What `mix` promises: scale, invariances, the table behind the choice, and what it refuses."""

from typing import Any

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.checks import InputError
from synalign_jax.mixing.families import FAMILIES, GROUPED, Weigher
from synalign_jax.mixing.task import Task, build_task, deal

NAMES = np.array(["bad", "good"])


def _rows(rng: np.random.Generator, count: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    codes = rng.integers(0, 2, count)
    codes[:2] = 0, 1
    x = rng.normal(size=(count, 12)) + np.where(codes[:, None], 0.45, -0.45)
    return (x + shift).astype("f4"), NAMES[codes]


def _mix(n: int = 40, m: int = 240, seed: int = 0, **changes: Any) -> sa.Mixture:
    rng = np.random.default_rng(seed)
    real, pool = _rows(rng, n), _rows(rng, m)
    given = {"real": real[0], "real_labels": real[1], "pool": pool[0], "pool_labels": pool[1]} | changes
    positional = [given.pop(name) for name in ("real", "real_labels", "pool", "pool_labels")]
    return sa.mix(*positional, key=jax.random.key(seed), **given)


def test_a_pool_of_the_real_rows_own_kind_is_used_on_the_scale_of_real_rows() -> None:
    found = _mix(n=24)
    assert found.verdict.decision in ("use", "use at this share")
    assert found.weights.shape == (240,)
    assert np.all(found.weights >= 0)
    np.testing.assert_allclose(found.weights.sum(), found.share * 24, rtol=1e-4)
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


def test_a_gain_is_taken_that_more_than_a_hundred_real_rows_find_only_likely() -> None:
    rng = np.random.default_rng(50)
    labelled = _rows(rng, 120)
    likely = _mix(n=120, pool=labelled[0], pool_labels=labelled[1])
    assert 0.5 < likely.verdict.sure < 0.95
    assert likely.loss_gain.lower < 0 < likely.loss_gain.value
    assert likely.weights.any()
    moved = _mix(n=120, pool=labelled[0] + 0.5, pool_labels=labelled[1])
    assert moved.verdict.decision == "do not use"
    assert 0.5 < moved.verdict.sure < 0.95
    assert not moved.weights.any()


def test_the_weights_follow_the_rows_and_not_their_order_or_axes() -> None:
    rng = np.random.default_rng(5)
    real, pool = _rows(rng, 40), _rows(rng, 240)
    order = rng.permutation(240)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0].astype("f4")
    plain = sa.mix(*real, *pool, key=jax.random.key(0))
    moved = sa.mix(*real, pool[0][order], pool[1][order], key=jax.random.key(0))
    np.testing.assert_allclose(moved.weights, plain.weights[order], atol=0.02)
    renamed = sa.mix(real[0], real[1] == "good", pool[0], pool[1] == "good", key=jax.random.key(0))
    np.testing.assert_allclose(renamed.weights, plain.weights, atol=1e-5)
    # The parts are dealt in the order of the rows' values, which turning changes: all but them is the same.
    turned = sa.mix(real[0] @ turn, real[1], pool[0] @ turn, pool[1], key=jax.random.key(0))
    for before, after in zip(plain.candidates[:6], turned.candidates[:6], strict=True):
        assert after.loss == pytest.approx(before.loss, abs=2e-3)


def test_rows_beyond_the_sample_are_weighed_by_the_same_rule() -> None:
    rng = np.random.default_rng(7)
    real, pool = _rows(rng, 60), _rows(rng, 800, shift=0.3)
    task, weigher = _weigher(real, pool, sample=400)
    beyond = np.setdiff1d(np.arange(800), task.sample)
    for family in FAMILIES:
        raw = weigher.raw(family)
        outside = weigher.further([family], pool[0][beyond], task.pool_codes[beyond])[0]
        if family.strength != 0:  # weights that hardly are penalised fit the sample
            assert outside.mean() == pytest.approx(raw.mean(), rel=0.2)
        if family == FAMILIES[1]:
            # What the closed form says of rows that were solved for is what was solved.
            told = weigher.further([family], task.rows, task.row_codes)[0]
            np.testing.assert_allclose(told, raw, atol=1e-3)
    found = sa.mix(*real, *pool, key=jax.random.key(1), sample=400)
    np.testing.assert_allclose(found.weights.sum(), found.share * 60, rtol=1e-4)


def test_groups_get_one_weight_each_and_labels_without_real_rows_none() -> None:
    rng = np.random.default_rng(3)
    real, pool = _rows(rng, 50), _rows(rng, 300)
    labels = np.where(np.arange(300) < 20, "strange", pool[1])
    groups = np.arange(300) % 3
    with pytest.warns(UserWarning, match="strange"):
        found = sa.mix(*real, pool[0], labels, key=jax.random.key(0), groups=groups)
    assert not found.weights[:20].any()
    assert {"aligned, by group", "agreed, by group"} <= {c.name for c in found.candidates}
    task, weigher = _weigher(real, pool, sample=300)
    for family in GROUPED:
        weights = weigher.sample(family, groups)
        assert weights.shape == (6, len(task.rows))
        assert all(len(np.unique(weights[-1][groups == g].round(9))) == 1 for g in range(3))


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_pools_of_few_rows_and_ten_real_ones_are_mixed(rows: int) -> None:
    rng = np.random.default_rng(rows)
    real, pool = _rows(rng, 10), _rows(rng, 7)
    found = sa.mix(*real, pool[0][:rows], pool[1][:rows], key=jax.random.key(0))
    assert found.weights.shape == (rows,)
    assert found.weights.sum() <= rows * 1.001


def test_without_labels_the_weights_match_the_distribution_and_nothing_is_judged() -> None:
    rng = np.random.default_rng(1)
    real, pool = _rows(rng, 40)[0], _rows(rng, 100)[0]
    found = sa.mix(real, None, pool, None, key=jax.random.key(0))
    assert found.verdict.decision == "unknown"
    assert found.candidates == ()
    assert 0 < found.weights.sum() <= 40.001
    assert repr(found).startswith("<Mixture of 100 rows: unknown; ")
    assert "array" not in repr(found)
    assert sa.mix(real, None, pool[:1], None, key=jax.random.key(0)).weights.tolist() == [1.0]


def _weigher(real: tuple, pool: tuple, sample: int) -> tuple[Task, Weigher]:
    rng = np.random.default_rng(0)
    task = build_task(*real, *pool, most=sample, rng=rng)
    kept = deal(task.codes, 5, rng)
    return task, Weigher(task, kept, np.ones((len(kept), len(task.rows)), bool))


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
