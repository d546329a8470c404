"""align against a reference solver, its own closed form and its certificate."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from synalign_jax.core.align import Alignment, align
from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import rbf
from synalign_jax.core.mmd import mmd2

SCALE = 2.0
KERNEL = rbf(SCALE)


def _sets(n: int = 60, m: int = 90, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Real rows around 0; a third of the pool around 0, the rest elsewhere."""
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(n, d))
    pool = rng.normal(size=(m, d)) + np.where(np.arange(m)[:, None] % 3, 1.5, 0.0)
    return real.astype("f4"), pool.astype("f4")


def _reference(
    real: np.ndarray, pool: np.ndarray, gamma: float, cap: float = 1.0
) -> tuple[np.ndarray, float]:
    """SLSQP in float64."""
    real, pool = real.astype("f8"), pool.astype("f8")
    k = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * SCALE**2))  # noqa: E731
    K, b, c, m = k(pool, pool), k(pool, real).mean(1), k(real, real).mean(), len(pool)
    objective = lambda w: w @ K @ w - 2 * b @ w + c + gamma * (m * w @ w - 1)  # noqa: E731
    slope = lambda w: 2 * (K @ w - b + gamma * m * w)  # noqa: E731
    found = minimize(
        objective,
        np.full(m, 1 / m),
        jac=slope,
        bounds=[(0, cap)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(m)},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return found.x, found.fun


@pytest.mark.parametrize(
    ("gamma", "cap"), [(0.0, None), (1e-3, None), (1e-1, None), (1e-3, 0.02), (0.0, 0.02)]
)
def test_weights_reach_the_reference_optimum_and_the_gap_proves_it(gamma: float, cap: float | None) -> None:
    real, pool = _sets()
    got = align(
        real,
        pool,
        key=jax.random.key(0),
        kernel=KERNEL,
        regularization=gamma,
        max_weight=cap,
        tolerance=1e-4,
    )
    want, optimum = _reference(real, pool, gamma, cap or 1.0)
    w = got.weights.astype("f8")
    assert w.min() >= 0
    assert w.max() <= (cap or 1.0) * (1 + 1e-5)
    np.testing.assert_allclose(w.sum(), 1.0, rtol=1e-5)
    reached = got.mmd2_after + gamma * (len(pool) * np.sum(w**2) - 1)
    assert got.converged
    assert got.status == "converged"
    assert reached <= optimum * 1.0001 + 3e-7
    assert reached - got.gap <= optimum + 1e-6  # the certificate is a bound
    if gamma >= 1e-3:
        np.testing.assert_allclose(w, want, atol=0.03 * want.max())
    np.testing.assert_allclose(
        got.mmd2_after, mmd2(real, pool, y_weights=w, kernel=KERNEL), rtol=1e-3, atol=1e-6
    )
    np.testing.assert_allclose(got.mmd2_before, mmd2(real, pool, kernel=KERNEL), rtol=1e-3)
    np.testing.assert_allclose(got.ess, 1 / np.sum(w**2), rtol=1e-4)


def test_an_unfinished_solve_says_so() -> None:
    real, pool = _sets(n=200, m=400)
    got = align(real, pool, key=jax.random.key(0), kernel=KERNEL, regularization=1e-3, max_steps=0)
    assert not got.converged
    assert "unfinished" in got.status
    assert got.gap > 0.01 * got.mmd2_after


def test_score_of_the_pool_is_its_weights() -> None:
    real, pool = _sets()
    got = align(real, pool, key=jax.random.key(0), kernel=KERNEL, regularization=1e-2, tolerance=1e-4)
    np.testing.assert_allclose(got.score(pool), got.weights, atol=2e-3 * got.weights.max())


@pytest.mark.parametrize("held", [2**20, 256 * 500])  # all rows join the solve, or a third of them
def test_landmarks_near_the_exact_optimum(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synalign_jax.core.landmark_solver.LANDMARKS", 256)
    monkeypatch.setattr("synalign_jax.core.landmark_solver.HELD_VALUES", held)
    real, pool = _sets(n=100, m=1_500)
    gamma = 3e-3
    arguments = {"key": jax.random.key(0), "kernel": KERNEL, "regularization": gamma}
    exact = align(real, pool, method="exact", tolerance=1e-4, **arguments)
    found = align(real, pool, method="landmarks", **arguments)
    np.testing.assert_allclose(found.weights.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found.mmd2_before, exact.mmd2_before, rtol=1e-3)

    def objective(w: np.ndarray) -> float:
        w = w.astype("f8")
        return float(mmd2(real, pool, y_weights=w, kernel=KERNEL)) + gamma * (len(w) * w @ w - 1)

    optimum = objective(exact.weights)
    assert objective(found.weights) <= (1.01 if held > 2**18 else 1.05) * optimum
    assert objective(found.weights) - found.gap <= optimum * 1.001  # the certificate is a bound
    np.testing.assert_allclose(found.score(pool), found.weights, atol=1e-3 * found.weights.max())


@pytest.mark.parametrize("cap", [None, 2e-3])
@pytest.mark.parametrize("held", [2**20, 128 * 500])
def test_an_exact_pass_brings_landmark_weights_near_the_optimum(
    cap: float | None, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synalign_jax.core.landmark_solver.LANDMARKS", 128)
    monkeypatch.setattr("synalign_jax.core.landmark_solver.HELD_VALUES", held)
    rng = np.random.default_rng(0)  # in ten dimensions 128 landmarks miss much of the kernel
    real = rng.normal(size=(100, 10)).astype("f4")
    pool = (rng.normal(size=(1_500, 10)) + np.where(np.arange(1_500)[:, None] % 3, 0.8, 0.0)).astype("f4")
    gamma = 3e-3

    def solve(**settings) -> tuple[Alignment, float]:
        found = align(
            real,
            pool,
            key=jax.random.key(0),
            kernel=KERNEL,
            regularization=gamma,
            max_weight=cap,
            **settings,
        )
        w = found.weights.astype("f8")
        value = float(mmd2(real, pool, y_weights=w, kernel=KERNEL))
        np.testing.assert_allclose(found.mmd2_after, value, rtol=0.01)
        assert w.max() <= (cap or 1.0) * (1 + 1e-5)
        # `score` is the same closed form, for rows that are already in the pool as for others.
        np.testing.assert_allclose(found.score(pool), found.weights, atol=2e-3 * found.weights.max())
        return found, value + gamma * (len(w) * w @ w - 1)

    _, optimum = solve(method="exact", tolerance=1e-4)
    corrected, reached = solve(method="landmarks")
    monkeypatch.setattr("synalign_jax.core.landmark_fit.CORRECTED_VALUES", 0)
    plain, without = solve(method="landmarks")
    assert reached - optimum < 0.25 * (without - optimum)
    assert reached - corrected.gap <= optimum * 1.001  # the certificate is a bound
    assert corrected.gap < 0.25 * plain.gap  # and a better one


def test_the_papers_form_learns_by_projections() -> None:
    real, pool = _sets()
    found = align(real, pool, key=jax.random.key(0), kernel=KERNEL, method="projections", max_steps=600)
    best = align(real, pool, key=jax.random.key(0), kernel=KERNEL, regularization=0.0).mmd2_after
    assert found.mmd2_after < best + 0.05 * (found.mmd2_before - best)
    assert not found.converged


def test_labels_are_solved_apart_and_keep_the_real_proportions() -> None:
    real, pool = _sets(n=60, m=120)
    real_labels = ["a" if i % 4 else "b" for i in range(len(real))]
    pool_labels = ["b" if i % 2 else "a" for i in range(len(pool))]
    arguments = {"key": jax.random.key(0), "kernel": KERNEL, "regularization": 1e-3, "tolerance": 1e-5}
    got = align(real, pool, real_labels=real_labels, synthetic_labels=pool_labels, **arguments)
    of_pool, of_real = np.array(pool_labels), np.array(real_labels)
    for label, share in (("a", 0.75), ("b", 0.25)):
        inside = got.weights[of_pool == label]
        np.testing.assert_allclose(inside.sum(), share, rtol=1e-5)
        alone = align(real[of_real == label], pool[of_pool == label], **arguments)
        np.testing.assert_allclose(inside / share, alone.weights, atol=1e-5)
    np.testing.assert_allclose(got.score(pool, pool_labels), got.weights, atol=0.02 * got.weights.max())
    half = align(
        real,
        pool,
        real_labels=real_labels,
        synthetic_labels=pool_labels,
        label_proportions={"a": 1, "b": 1},
        **arguments,
    )
    np.testing.assert_allclose(half.weights[of_pool == "a"].sum(), 0.5, rtol=1e-5)


def test_automatic_regularisation_beats_none_and_much_on_held_out_rows() -> None:
    fresh = np.random.default_rng(99).normal(size=(3_000, 4)).astype("f4")

    def error(regularization: float | str, seed: int) -> float:
        real, pool = _sets(n=25, m=300, seed=seed)
        got = align(real, pool, key=jax.random.key(seed), kernel=KERNEL, regularization=regularization)
        return float(mmd2(fresh, pool, y_weights=got.weights, kernel=KERNEL))

    auto, none, uniform = (np.mean([error(g, s) for s in range(3)]) for g in ("auto", 0.0, 1e3))
    assert auto < 0.7 * none
    assert auto < 0.5 * uniform


def test_held_out_estimate_is_near_the_truth() -> None:
    real, pool = _sets(n=300, m=300)
    fresh = np.random.default_rng(99).normal(size=(3_000, 4)).astype("f4")
    got = align(real, pool, key=jax.random.key(0), kernel=KERNEL)
    truth = float(mmd2(fresh, pool, y_weights=got.weights, kernel=KERNEL))
    assert abs(got.heldout_mmd2 - truth) < 1.5 * got.noise_band
    k = np.exp(-cdist(fresh, fresh, "sqeuclidean") / (2 * SCALE**2))
    np.testing.assert_allclose(got.noise_band, (1 - (k.sum() - 3_000) / (3_000 * 2_999)) / 300, rtol=0.05)


def test_few_real_rows_are_left_out_one_by_one() -> None:
    """The held-out estimate at the chosen penalty, against a float64 solve for every row left out."""
    real, pool = _sets(n=12, m=30)
    got = align(real, pool, key=jax.random.key(0), kernel=KERNEL)
    k = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * SCALE**2))  # noqa: E731
    errors = []
    for i in range(len(real)):
        weights, _ = _reference(np.delete(real, i, axis=0), pool, got.regularization[None])
        errors.append(weights @ k(pool, pool) @ weights - 2 * (k(real[i : i + 1], pool) @ weights).item())
    pairs = (k(real, real).sum() - len(real)) / (len(real) * (len(real) - 1))
    np.testing.assert_allclose(got.heldout_mmd2, np.mean(errors) + pairs, atol=0.03 * got.noise_band)


def test_few_real_rows_warn() -> None:
    real, pool = _sets(n=5)
    with pytest.warns(UserWarning, match="fewer than 10 real rows"):
        align(real, pool, key=jax.random.key(0), kernel=KERNEL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthetic": np.zeros((9, 3), np.float32)}, "synthetic: rows are 3 wide, 4 expected"),
        ({"synthetic": np.zeros((1, 4), np.float32)}, "synthetic: 1 row"),
        ({"real_labels": ["a"] * 60}, "one side only"),
        ({"real_labels": ["a"] * 60, "synthetic_labels": ["a"]}, "synthetic_labels: 1 labels for 90 rows"),
        (
            {"real_labels": ["a"] * 30 + ["b"] * 30, "synthetic_labels": ["a"] * 90},
            r"the pool has no row labelled \['b'\]; generate some",
        ),
        ({"regularization": -1.0}, "regularization: -1.0"),
        ({"regularization": "some"}, "regularization: 'some'"),
        ({"method": "magic"}, "method: 'magic'"),
        ({"max_weight": 1e-3}, "max_weight: 0.001 for 90 rows"),
        ({"label_proportions": {"a": 1}}, "they need real_labels"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    real, pool = _sets()
    with pytest.raises(InputError, match=message):
        align(**({"real": real, "synthetic": pool, "key": jax.random.key(0), "kernel": KERNEL} | change))


def test_a_synthetic_label_without_real_rows_gets_no_weight() -> None:
    real, pool = _sets()
    labels = ["a"] * 60 + ["c"] * 30
    with pytest.warns(UserWarning, match=r"\['c'\] label synthetic rows but no real row"):
        got = align(
            real, pool, key=jax.random.key(0), kernel=KERNEL, real_labels=["a"] * 60, synthetic_labels=labels
        )
    assert (got.weights[60:] == 0).all()


def test_identical_real_rows_still_align() -> None:
    """The law is a point: the pool's nearest rows take the weight."""
    _, pool = _sets()
    got = align(np.zeros((20, 4), np.float32), pool, key=jax.random.key(0), kernel=KERNEL)
    assert np.isfinite(got.weights).all()
    assert got.mmd2_after < got.mmd2_before


def test_jax_arrays_and_float64_are_taken() -> None:
    real, pool = _sets()
    arguments = {"key": jax.random.key(0), "kernel": KERNEL, "regularization": 1e-2, "tolerance": 1e-3}
    single = align(jnp.asarray(real), jnp.asarray(pool), **arguments).weights
    with jax.enable_x64(True), warnings.catch_warnings():
        double = align(real.astype("f8"), pool.astype("f8"), **arguments).weights
    np.testing.assert_allclose(single, double, atol=0.01 * double.max())


def test_progress_is_told_for_every_piece_of_work() -> None:
    real, pool = _sets(seed=4)
    heard = []
    align(
        real,
        pool,
        key=jax.random.key(0),
        method="landmarks",
        on_progress=lambda *step: heard.append(step),
    )
    names = list(dict.fromkeys(what for what, _, _ in heard))
    assert names == [
        "cross-validate",
        "solve",
        "solve, pass 1 of 2 over the pool",
        "solve, pass 2 of 2 over the pool",
        "exact pass over the pool",
        "correct, pass 1 of 2 over the pool",
        "correct, pass 2 of 2 over the pool",
    ]
    assert all(0 <= done < total for _, done, total in heard)
