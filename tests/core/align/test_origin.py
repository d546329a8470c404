"""Vectors far from the origin, of short types and foreign byte order: right, or refused."""

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.align.align import align
from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import linear, rbf
from synalign_jax.core.pca import principal_components

KEY = jax.random.key(0)


def _sides(width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, width)), rng.normal(size=(150, width)) + 0.5


@pytest.mark.parametrize("offset", [1e3, 1e4, np.eye(16)[3] * 3e3])
@pytest.mark.parametrize("method", ["exact", "landmarks"])
def test_an_offset_that_both_sides_share_changes_nothing(offset, method: str) -> None:
    real, pool = _sides()
    settings = {"key": KEY, "regularization": 0.01, "method": method, "kernel": rbf(5.0)}
    near = align(real.astype("f4"), pool.astype("f4"), **settings)
    far = align(real + offset, pool + offset, **settings)
    # Here float64 holds the rows, so the move is exact.
    np.testing.assert_allclose(far.weights, near.weights, atol=2e-4 / 150)
    np.testing.assert_allclose(far.mmd2_after, near.mmd2_after, atol=1e-5)
    late = _sides()[1][:20]
    np.testing.assert_allclose(far.score(late + offset), near.score(late.astype("f4")), atol=2e-4 / 150)


def test_the_weights_of_float32_rows_far_out_are_those_of_float64() -> None:
    real, pool = _sides()
    far = (real + 1e4).astype("f4"), (pool + 1e4).astype("f4")
    exact = align(far[0].astype("f8") - 1e4, far[1].astype("f8") - 1e4, key=KEY, regularization=0.01)
    found = align(*far, key=KEY, regularization=0.01)
    assert found.mmd2_after > 0
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-3 / 150)


def test_a_kernel_of_more_than_differences_keeps_its_origin() -> None:
    real, pool = _sides()
    assert align(real + 10.0, pool + 10.0, key=KEY, regularization=0.01, kernel=linear()).origin is None
    assert align(real + 10.0, pool + 10.0, key=KEY, regularization=0.01).origin is not None


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">f8"])
def test_other_types_give_what_float32_gives(dtype: str) -> None:
    real, pool = (side.astype("f2") for side in _sides())
    wide = real.astype("f4"), pool.astype("f4")
    odd = real.astype(dtype), pool.astype(dtype)
    assert float(sa.mmd2(*odd)) == pytest.approx(float(sa.mmd2(*wide)), rel=1e-5)
    found, expected = (align(*sides, key=KEY, regularization=0.01) for sides in (odd, wide))
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-6)
    chosen = sa.explore(odd[1], rounds=4, key=KEY), sa.explore(wide[1], rounds=4, key=KEY)
    np.testing.assert_array_equal(chosen[0].centers, chosen[1].centers)


@pytest.mark.parametrize(("factor", "message"), [(1e20, "overflow float32"), (1e-25, "vanishes in float32")])
def test_values_whose_squares_leave_float32_are_refused(factor: float, message: str) -> None:
    real, pool = _sides()
    with pytest.raises(InputError, match=message):
        align(factor * real, factor * pool, key=KEY)


@pytest.mark.parametrize(
    ("rows", "width", "dims"), [(20, 300, 300), (20, 300, 2), (1, 5, 2), (2, 3, 2), (40, 12, 5)]
)
def test_components_of_few_wide_rows_are_those_of_the_scatter(rows: int, width: int, dims: int) -> None:
    x = np.random.default_rng(1).normal(size=(rows, width))
    found = principal_components(x, dims)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True) if rows > 1 else np.zeros((width, width)))
    count = len(found.variance)
    assert count == (min(rows - 1, dims) if rows > 2 else min(dims, 2))
    np.testing.assert_allclose(found.variance, values[::-1][:count], atol=1e-12)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(count), atol=1e-10)
    for i in range(min(count, rows - 1)):
        assert abs(found.axes[:, i] @ vectors[:, -1 - i]) == pytest.approx(1.0, abs=1e-8)


def test_rounding_is_no_unfinished_solve() -> None:
    same = np.repeat(np.random.default_rng(0).normal(size=(1, 8)), 20, axis=0)
    other = np.random.default_rng(1).normal(size=(20, 8)) + 3.0
    real, labels = np.concatenate([same, other]), ["a"] * 20 + ["b"] * 20
    found = align(real, real, key=KEY, real_labels=labels, synthetic_labels=labels, regularization=0.001)
    assert found.status == "converged"


def test_one_real_row_a_label_is_refused_by_name() -> None:
    real, pool = _sides()
    with pytest.raises(InputError, match=r"labels 'a', 'b'.*--regularization"):
        align(real[:2], pool, key=KEY, real_labels=["a", "b"], synthetic_labels=["a", "b"] * 75)
