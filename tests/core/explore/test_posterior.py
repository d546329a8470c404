import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinygp import kernels as tk
from tinygp.kernels.distance import L2Distance

from synalign_jax.core.checks import InputError
from synalign_jax.core.explore.posterior import posterior_init, posterior_update
from synalign_jax.core.kernels import rbf


def direct_variance(kernel, points: np.ndarray, rows: np.ndarray, noise: float) -> np.ndarray:
    """The formula itself, in float64: a solve against every row."""
    with jax.enable_x64(True):
        points = points.astype(np.float64)
        rows = np.unique(rows)
        cross = np.asarray(kernel(points[rows], points))
        prior = np.asarray(kernel(points))
    solved = np.linalg.solve(cross[:, rows] + noise * np.eye(len(rows)), cross)
    return prior - np.sum(cross * solved, axis=0)


KERNELS = [
    tk.ExpSquared(scale=3.0, distance=L2Distance()),
    tk.Matern32(scale=4.0, distance=L2Distance()),
    tk.Exp(scale=20.0),
    2.0 * tk.RationalQuadratic(alpha=1.5, scale=3.0, distance=L2Distance()) + tk.DotProduct(),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("block", [1, 4, 7])
def test_variance_equals_the_direct_solve(kernel, block: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 8)).astype(np.float32)
    rows = rng.permutation(300)[:84]
    state = posterior_init(points, kernel, capacity=84, noise=1e-3)
    update = jax.jit(posterior_update)
    for chunk in rows.reshape(-1, block):
        state = update(state, chunk)
    expected = direct_variance(kernel, points, rows, 1e-3)
    np.testing.assert_allclose(state.variance, expected, atol=2e-4 * expected.max())
    assert int(state.count) == 84
    np.testing.assert_array_equal(np.flatnonzero(state.observed), np.sort(rows))


def test_a_block_equals_its_rows_one_by_one() -> None:
    points = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    start = posterior_init(points, rbf(2.0), capacity=30)
    whole = posterior_update(start, jnp.arange(30))
    single, _ = jax.lax.scan(lambda state, row: (posterior_update(state, row), None), start, jnp.arange(30))
    np.testing.assert_allclose(whole.variance, single.variance, atol=2e-5)
    np.testing.assert_allclose(whole.factor, single.factor, atol=2e-3)


def test_copies_and_rows_observed_twice_change_nothing() -> None:
    points = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    points[40:] = points[0]
    once = posterior_update(posterior_init(points, rbf(2.0), capacity=16), jnp.arange(4))
    again = posterior_update(once, jnp.array([2, 2, 0, 45]))
    np.testing.assert_array_equal(again.variance, once.variance)
    block = posterior_update(posterior_init(points, rbf(2.0), capacity=16), jnp.array([0, 1, 40, 2, 1, 3]))
    np.testing.assert_allclose(block.variance, once.variance, atol=1e-6)
    assert np.all(np.isfinite(block.factor))


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.05, 20.0), st.integers(1, 3))
def test_variance_only_falls_and_stays_between_zero_and_the_prior(seed: int, scale: float, d: int) -> None:
    rng = np.random.default_rng(seed)
    # A grid of few values: copies and near-singular covariances are common.
    points = rng.integers(0, 6, size=(64, d)).astype(np.float32)
    state = posterior_init(points, rbf(scale), capacity=64)
    update = jax.jit(posterior_update)
    for chunk in rng.permutation(64).reshape(16, 4):
        before, state = state, update(state, chunk)
        assert np.all(np.asarray(state.variance) <= np.asarray(before.variance))
        assert np.all(np.asarray(state.variance) >= 0)
    assert np.asarray(state.variance).max() < 1e-3


@pytest.mark.parametrize(
    ("rows", "count"), [(1_500, 300), pytest.param(10_000, 2_000, marks=pytest.mark.slow)]
)
def test_float32_stays_near_float64_on_unit_vectors(rows: int, count: int) -> None:
    rng = np.random.default_rng(3)
    # A spectrum that falls like that of sentence embeddings.
    points = rng.normal(size=(rows, 384)) / np.sqrt(np.arange(1, 385))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    chosen = rng.permutation(rows)[:count]
    state, _ = jax.jit(
        lambda start, blocks: jax.lax.scan(lambda s, b: (posterior_update(s, b), None), start, blocks)
    )(posterior_init(points, rbf(1.0), capacity=count), jnp.asarray(chosen.reshape(-1, 4)))
    exact = direct_variance(unit_rbf, points, chosen, 1e-6)
    np.testing.assert_allclose(state.variance, exact, atol=1e-4)
    assert float(state.variance.min()) >= 0.0


def unit_rbf(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    if y is None:
        return np.ones(len(x))
    squares = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1) - 2.0 * x @ y.T
    return np.exp(-0.5 * squares)


def test_float64_reaches_float64() -> None:
    points = np.random.default_rng(4).normal(size=(200, 5))
    rows = np.arange(40)
    with jax.enable_x64(True):
        state = posterior_update(posterior_init(points, rbf(2.0), capacity=40, noise=1e-10), rows)
        assert state.variance.dtype == np.float64
        variance = np.asarray(state.variance)
    expected = direct_variance(rbf(2.0), points, rows, 1e-10)
    np.testing.assert_allclose(variance, expected, atol=1e-9)


def test_bad_input_is_named() -> None:
    points = np.ones((3, 2), np.float32)
    with pytest.raises(InputError, match="capacity: 0"):
        posterior_init(points, rbf(1.0), capacity=0)
    points[1, 1] = np.nan
    with pytest.raises(InputError, match="row 1, column 1 is nan"):
        posterior_init(points, rbf(1.0), capacity=1)
    with pytest.raises(InputError, match="length_scale: 0"):
        rbf(0.0)
