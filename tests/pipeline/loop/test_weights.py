"""The small solver against scipy, the closed form, and the alignment of the core."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from synalign_jax.core.align.align import align
from synalign_jax.core.kernels import rbf
from synalign_jax.pipeline.loop import weights
from synalign_jax.pipeline.loop.weights import Weigher, minimise, project


@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_projection_is_the_nearest_point_of_the_simplex(m: int, seed: int) -> None:
    v = np.random.default_rng(seed).normal(size=(m, 3))
    w = project(v)
    np.testing.assert_allclose(w.sum(axis=0), 1, atol=1e-12)
    assert w.min() >= 0
    # Optimality: v - w is the same on the support and not larger off it.
    for column in range(3):
        slack = v[:, column] - w[:, column]
        assert slack.max() - slack[w[:, column] > 0].min() < 1e-9


def test_the_minimum_is_that_of_a_general_solver() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3))
    K = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2)
    a, penalty = rng.uniform(0, 1, 8), 0.05
    found = minimise(K, a[:, None], np.array([penalty]), np.full((8, 1, 1), 1 / 8))[:, 0, 0]
    best = minimize(
        lambda w: w @ K @ w - 2 * w @ a + penalty * 8 * w @ w,
        np.full(8, 1 / 8),
        jac=lambda w: 2 * K @ w - 2 * a + 2 * penalty * 8 * w,
        bounds=[(0, 1)] * 8,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-5)


def _rows(rng: np.random.Generator, n: int, shift: float) -> np.ndarray:
    x = rng.normal(size=(n, 16)) + shift
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_a_picture_agrees_with_the_alignment_of_the_core() -> None:
    rng = np.random.default_rng(1)
    real, made = _rows(rng, 60, 0.3), _rows(rng, 90, 0.1)
    picture = Weigher(real, ["a"] * 60, 1.0, 0).picture(made, ["a"] * 90)
    assert picture is not None
    found = align(real, made, key=jax.random.key(0), kernel=rbf(1.0), spectral_power=0.0)
    assert picture.band == pytest.approx(found.noise_band, rel=1e-3)
    assert picture.distance == pytest.approx(found.heldout_mmd2, rel=0.2)
    assert np.corrcoef(picture.labels["a"].relative, found.weights)[0, 1] > 0.9


def test_waves_that_begin_where_the_last_ended_find_the_same_weights() -> None:
    rng = np.random.default_rng(2)
    real, made = _rows(rng, 40, 0.3), _rows(rng, 80, 0.0)
    growing, at_once = Weigher(real, ["a"] * 40, 1.0, 0), Weigher(real, ["a"] * 40, 1.0, 0)
    for m in (10, 20, 40, 80):
        warm = growing.picture(made[:m], ["a"] * m)
    cold = at_once.picture(made, ["a"] * 80)
    assert warm is not None
    assert cold is not None
    np.testing.assert_allclose(warm.labels["a"].relative, cold.labels["a"].relative, atol=0.02)
    assert warm.distance == pytest.approx(cold.distance, rel=1e-2)


def test_the_last_rows_alone_are_weighed_and_begin_with_their_own_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    real, made = _rows(rng, 40, 0.3), _rows(rng, 90, 0.0)
    growing = Weigher(real, ["a"] * 40, 1.0, 0)
    monkeypatch.setattr(weights, "_MOST", 40)
    for m in (20, 50, 70, 90):
        picture = growing.picture(made[:m], ["a"] * m)
    last = Weigher(real, ["a"] * 40, 1.0, 0).picture(made[50:], ["a"] * 40)
    assert picture is not None
    assert last is not None
    assert picture.labels["a"].relative[:50] == pytest.approx(np.ones(50))
    np.testing.assert_allclose(picture.labels["a"].relative[50:], last.labels["a"].relative, atol=0.02)


def test_products_with_few_weights_are_those_with_all_rows() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(30, 3))
    K = x @ x.T
    product = weights._Weighed(K)
    for rows in ([2, 5], [2, 5], [5, 7, 9], range(30), [1]):
        w = np.zeros((30, 4))
        w[list(rows), : 1 + len(rows) % 4] = 1.0
        np.testing.assert_allclose(product.times(w), K @ w, atol=1e-12)


def test_the_witness_is_largest_where_no_row_stands_for_real_text() -> None:
    rng = np.random.default_rng(3)
    here, there = (
        rng.normal(0, 0.1, (30, 4)) + np.array([1, 0, 0, 0]),
        rng.normal(0, 0.1, (10, 4)) + np.array([0, 1, 0, 0]),
    )
    real = np.concatenate([here, there])
    picture = Weigher(real, ["a"] * 40, 0.5, 0).picture(
        rng.normal(0, 0.1, (50, 4)) + np.array([1, 0, 0, 0]), ["a"] * 50
    )
    assert picture is not None
    witness = picture.labels["a"].witness
    assert witness[30:].min() > witness[:30].max()


def test_too_few_real_rows_say_nothing() -> None:
    rng = np.random.default_rng(4)
    weigher = Weigher(_rows(rng, 9, 0), ["a"] * 9, 1.0, 0)
    assert weigher.says_nothing == ["a"]
    assert weigher.picture(_rows(rng, 20, 0), ["a"] * 20) is None


def test_a_label_without_rows_yet_leaves_the_others_their_picture_but_no_distance() -> None:
    rng = np.random.default_rng(5)
    weigher = Weigher(_rows(rng, 40, 0), ["a"] * 20 + ["b"] * 20, 1.0, 0)
    picture = weigher.picture(_rows(rng, 5, 0), ["a"] * 5)
    assert picture is not None
    assert (set(picture.labels), picture.distance, picture.band) == ({"a"}, None, None)
    assert weigher.picture(_rows(rng, 2, 0), ["a", "b"]) is None


def test_one_and_the_same_row_many_times() -> None:
    weigher = Weigher(np.ones((20, 4)), ["a"] * 20, 1.0, 0)
    picture = weigher.picture(np.ones((6, 4)), ["a"] * 6)
    assert picture is not None
    assert picture.distance == pytest.approx(0, abs=1e-9)
