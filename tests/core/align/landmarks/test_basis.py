"""What landmarks see of a pool, and what they miss, against kernel sums in float64."""

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from synalign_jax.core.align.landmarks import basis as module
from synalign_jax.core.align.landmarks.basis import basis_of, cross_of_pool, missed, squared_norm
from synalign_jax.core.align.problem import Problem, split
from synalign_jax.core.kernels import rbf


def _problem() -> tuple[Problem, np.ndarray]:
    """A pool in ten dimensions, and its centred kernel matrix."""
    rng = np.random.default_rng(0)
    real, pool = rng.normal(size=(60, 10)).astype("f4"), rng.normal(size=(900, 10)).astype("f4")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(x.astype("f8"), y.astype("f8"), "sqeuclidean") / (2 * 3.0**2))

    towards = kernel(pool, real).mean(axis=1)
    centred = kernel(pool, pool) - towards[:, None] - towards[None, :] + kernel(real, real).mean()
    return split(real, pool, None, None, None, rbf(3.0), None)[0], centred


@pytest.mark.parametrize("block", [8_192, 256])
def test_cross_and_missed_parts_make_up_the_kernel(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    problem, K = _problem()
    basis = basis_of(problem, np.arange(100))
    rows = np.arange(0, 900, 2)
    cross = np.asarray(cross_of_pool(problem, basis, rows, None), np.float64)
    np.testing.assert_allclose(cross, K[rows, :100], atol=1e-6)
    seen = cross @ np.linalg.solve(np.asarray(basis.within, np.float64), cross.T)
    rest = np.asarray(missed(basis, problem.take(rows)))
    np.testing.assert_allclose(seen + rest, K[np.ix_(rows, rows)], atol=1e-4)
    assert np.diagonal(rest)[50:].min() > 0.01  # there is something to miss


@pytest.mark.parametrize("signed", [False, True])
def test_squared_norm_is_exact_for_few_rows_and_sampled_for_many(
    signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, K = _problem()
    basis = basis_of(problem, np.arange(100))
    rng = np.random.default_rng(1)
    w = rng.exponential(size=900) ** 2 * (rng.choice([-1, 1], size=900) if signed else 1)
    w /= np.abs(w).sum()
    moment = w @ K[:, :100]
    exact = squared_norm(problem, basis, moment, w, jax.random.key(0))
    np.testing.assert_allclose(exact, w @ K @ w, rtol=1e-3)
    monkeypatch.setattr(module, "_SAMPLE", 500)
    sampled = [squared_norm(problem, basis, moment, w, jax.random.key(i)) for i in range(20)]
    assert np.std(sampled) > 0
    np.testing.assert_allclose(np.mean(sampled), exact, rtol=0.03)


def test_nothing_weighs_nothing() -> None:
    problem, _ = _problem()
    basis = basis_of(problem, np.arange(10))
    assert squared_norm(problem, basis, np.zeros(10), np.zeros(900), jax.random.key(0)) == 0.0
