"""mmd2 against dense sums in float64, a second library and finite differences."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from tinygp import kernels as tk

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import gram, inverse_multiquadric, laplace, linear, rbf, rbf_mixture
from synalign_jax.core.mmd.features import random_features
from synalign_jax.core.mmd.mmd import mmd2

KERNELS = {
    "rbf": (rbf(1.5), lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * 1.5**2))),
    "mixture": (
        rbf_mixture([0.5, 2.0], [0.3, 0.7]),
        lambda a, b: (
            0.3 * np.exp(-cdist(a, b, "sqeuclidean") / 0.5) + 0.7 * np.exp(-cdist(a, b, "sqeuclidean") / 8.0)
        ),
    ),
    "imq": (inverse_multiquadric(2.0), lambda a, b: (1 + cdist(a, b, "sqeuclidean") / 4) ** -0.5),
    "laplace": (laplace(1.2), lambda a, b: np.exp(-cdist(a, b) / 1.2)),
    "linear": (linear(), lambda a, b: a @ b.T),
    "tinygp": (tk.Matern32(scale=5.0), lambda a, b: _matern32(cdist(a, b, "cityblock") / 5.0)),
}


def _matern32(r: np.ndarray) -> np.ndarray:
    return (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r)


def _sets(n: int = 23, m: int = 31, d: int = 5, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.3
    u, v = rng.uniform(size=n), rng.uniform(size=m)
    return x.astype("f4"), y.astype("f4"), (u / u.sum()).astype("f4"), (v / v.sum()).astype("f4")


def _dense(k, x, y, u, v, statistic: str = "v") -> float:
    x, y, u, v = (np.asarray(a, np.float64) for a in (x, y, u, v))
    u, v = u / u.sum(), v / v.sum()
    kxx, kyy, kxy = k(x, x), k(y, y), k(x, y)
    within_x, within_y = u @ kxx @ u, v @ kyy @ v
    if statistic == "u":
        within_x = (within_x - u**2 @ np.diag(kxx)) / (1 - u @ u)
        within_y = (within_y - v**2 @ np.diag(kyy)) / (1 - v @ v)
    return within_x + within_y - 2 * u @ kxy @ v


@pytest.mark.parametrize("statistic", ["v", "u"])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("block_size", [None, 7])
def test_value_is_the_dense_sum(name: str, statistic: str, block_size: int | None) -> None:
    kernel, dense = KERNELS[name]
    x, y, u, v = _sets()
    got = mmd2(x, y, x_weights=u, y_weights=v, kernel=kernel, statistic=statistic, block_size=block_size)
    np.testing.assert_allclose(got, _dense(dense, x, y, u, v, statistic), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_derivatives_are_those_of_the_dense_sum(name: str) -> None:
    """With respect to kernel, points and both weights, in float64, under jit."""
    kernel, _ = KERNELS[name]
    with jax.enable_x64(True):
        kernel = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), kernel)
        x, y, u, v = (jnp.asarray(a, jnp.float64) for a in _sets())

        def blocked(kernel, x, y, u, v):
            return mmd2(x, y, x_weights=u, y_weights=v, kernel=kernel, block_size=8)

        def dense(kernel, x, y, u, v):
            u, v = u / u.sum(), v / v.sum()
            full = jax.vmap(jax.vmap(kernel.evaluate, (None, 0)), (0, None))
            return u @ full(x, x) @ u + v @ full(y, y) @ v - 2 * u @ full(x, y) @ v

        got = jax.jit(jax.grad(blocked, argnums=(0, 1, 2, 3, 4)))(kernel, x, y, u, v)
        want = jax.grad(dense, argnums=(0, 1, 2, 3, 4))(kernel, x, y, u, v)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        # Only what is asked for is computed, and it is the same.
        alone = jax.grad(blocked, argnums=4)(kernel, x, y, u, v)
        np.testing.assert_allclose(alone, want[4], rtol=1e-9, atol=1e-12)


def test_gradient_is_finite_where_points_coincide() -> None:
    x = np.ones((4, 3), np.float32)
    for kernel, _ in KERNELS.values():
        value, slope = jax.value_and_grad(lambda a, k=kernel: mmd2(a, x, kernel=k))(jnp.asarray(x))
        np.testing.assert_allclose(value, 0.0, atol=1e-6)
        assert np.isfinite(slope).all()


def test_vmap_over_sets_is_the_loop() -> None:
    xs = np.stack([_sets(seed=s)[0] for s in range(3)])
    y = _sets()[1]

    def value(a):
        return mmd2(a, y, kernel=rbf(1.5), block_size=8)

    np.testing.assert_allclose(jax.vmap(value)(xs), [value(a) for a in xs], rtol=1e-5)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(value))(xs), [jax.grad(value)(jnp.asarray(a)) for a in xs], rtol=1e-4, atol=1e-7
    )


def test_labels_are_the_product_kernel() -> None:
    x, y, u, v = _sets()
    x_labels = ["pos" if i % 3 else "neg" for i in range(len(x))]
    y_labels = ["pos" if i % 2 else "neg" for i in range(len(y))]
    same = lambda a, b: np.asarray(a)[:, None] == np.asarray(b)[None, :]  # noqa: E731
    k = KERNELS["rbf"][1]
    want = (
        u @ (k(x, x) * same(x_labels, x_labels)) @ u
        + v @ (k(y, y) * same(y_labels, y_labels)) @ v
        - 2 * u @ (k(x, y) * same(x_labels, y_labels)) @ v
    )
    arguments = {"x_weights": u, "y_weights": v, "x_labels": x_labels, "y_labels": y_labels}
    got = mmd2(x, y, kernel=rbf(1.5), block_size=8, **arguments)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    theta = random_features(rbf(1.5), x.shape[1], 20_000, key=jax.random.key(0))
    np.testing.assert_allclose(mmd2(x, y, theta=theta, **arguments), want, rtol=0.02)


def test_slopes_with_labels_are_finite_differences() -> None:
    with jax.enable_x64(True):
        x, y, u, v = (jnp.asarray(a, jnp.float64) for a in _sets())
        labels = {"x_labels": np.arange(len(x)) % 3, "y_labels": np.arange(len(y)) % 2}

        def value(x, u, scale):
            return mmd2(
                x, y, x_weights=u, y_weights=v, kernel=rbf(jnp.asarray(scale)), block_size=8, **labels
            )

        jax.test_util.check_grads(value, (x, u, jnp.asarray(1.5)), order=1, modes=["rev"], rtol=1e-6)


def test_rows_far_from_the_origin_keep_their_digits() -> None:
    """RBF: only differences of rows count, and float32 must not lose them in the squares of the rows."""
    x, y, u, v = _sets()
    kernel, dense = KERNELS["rbf"]
    shift = np.float32(1_024.0)  # exact in float32 for rows rounded to 2^-12
    x, y = (np.round(a * 4_096) / np.float32(4_096) for a in (x, y))
    got = mmd2(x + shift, y + shift, x_weights=u, y_weights=v, kernel=kernel)
    np.testing.assert_allclose(got, _dense(dense, x, y, u, v), rtol=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.1, 50.0))
def test_invariances(seed: int, factor: float) -> None:
    x, y, u, v = _sets(seed=seed)
    value = mmd2(x, y, x_weights=u, y_weights=v, kernel=rbf(1.5), block_size=8)
    assert value > -1e-6
    other = mmd2(y, x, x_weights=v * np.float32(factor), y_weights=u, kernel=rbf(1.5), block_size=8)
    np.testing.assert_allclose(other, value, rtol=1e-4, atol=1e-6)
    order = np.random.default_rng(seed).permutation(len(x))
    shuffled = mmd2(x[order], y, x_weights=u[order], y_weights=v, kernel=rbf(1.5), block_size=8)
    np.testing.assert_allclose(shuffled, value, rtol=1e-4, atol=1e-6)


def test_default_kernel_is_the_pooled_median_also_while_tracing() -> None:
    x, y, _, _ = _sets()
    pooled = np.concatenate([x, y])
    median = np.median(cdist(pooled, pooled)[np.triu_indices(len(pooled), 1)])
    want = mmd2(x, y, kernel=rbf(float(median)))
    np.testing.assert_allclose(mmd2(x, y), want, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(mmd2)(x, y), want, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros((3, 4), np.float32)}, "y: rows are 4 wide, 5 expected"),
        ({"x_weights": -np.ones(23)}, "x_weights: row 0 is -1"),
        ({"x_weights": np.zeros(23)}, "sum to 0"),
        ({"x_labels": ["a"] * 23}, "one side only"),
        ({"x_labels": ["a"] * 23, "y_labels": ["a"]}, "y_labels: 1 labels for 31 rows"),
        ({"statistic": "w"}, "statistic"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    x, y, _, _ = _sets()
    with pytest.raises(InputError, match=message):
        mmd2(**({"x": x, "y": y} | change))


def test_a_bad_value_is_found_by_row_and_column() -> None:
    x, y, _, _ = _sets()
    x[7, 2] = np.nan
    with pytest.raises(InputError, match="x: row 7, column 2 is nan"):
        mmd2(x, y)


def test_gram_of_a_sum_is_the_sum() -> None:
    x, y = (jnp.asarray(a) for a in _sets()[:2])
    both = gram(rbf(1.0) + 2.0 * laplace(1.0), x, y)
    np.testing.assert_allclose(both, gram(rbf(1.0), x, y) + 2.0 * gram(laplace(1.0), x, y), rtol=1e-6)
