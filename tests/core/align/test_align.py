"""align against a reference solver, its own closed form and its certificate."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.align.distance import distance_to_real
from synalign_jax.core.align.problem import split
from synalign_jax.core.align.regularization import _trusted
from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import rbf
from synalign_jax.core.mmd.mmd import mmd2

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


def _scaled(rows: np.ndarray, real: np.ndarray, pool: np.ndarray, power: float) -> np.ndarray:
    """In the pool's principal components, scaled by (variance / largest)^(power / 2), float64."""
    values, axes = np.linalg.eigh(np.cov(pool.astype("f8").T))
    scale = (values / values[-1]) ** (power / 2)
    median = lambda x: np.median(pdist(x))  # noqa: E731
    both = np.concatenate([real, pool]).astype("f8")
    return rows.astype("f8") @ (axes * scale) * (median(both) / median(both @ (axes * scale)))


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
    monkeypatch.setattr("synalign_jax.core.align.landmarks.solver.LANDMARKS", 256)
    monkeypatch.setattr("synalign_jax.core.align.landmarks.solver.HELD_VALUES", held)
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
    monkeypatch.setattr("synalign_jax.core.align.landmarks.solver.LANDMARKS", 128)
    monkeypatch.setattr("synalign_jax.core.align.landmarks.solver.HELD_VALUES", held)
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
    monkeypatch.setattr("synalign_jax.core.align.landmarks.fit.CORRECTED_VALUES", 0)
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


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_labels_are_solved_apart_and_keep_the_real_proportions(power: float) -> None:
    real, pool = _sets(n=60, m=120)
    real_labels = ["a" if i % 4 else "b" for i in range(len(real))]
    pool_labels = ["b" if i % 2 else "a" for i in range(len(pool))]
    arguments = {
        "key": jax.random.key(0),
        "kernel": KERNEL,
        "regularization": 1e-3,
        "spectral_power": power,
        "tolerance": 1e-5,
    }
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


@pytest.mark.parametrize("method", ["exact", "landmarks"])
@pytest.mark.parametrize("power", [0.5, 2.0])
def test_a_spectral_power_is_the_same_problem_in_scaled_components(power: float, method: str) -> None:
    real, pool = _sets(n=60, m=150)
    pool = pool * np.array([3.0, 1.0, 0.5, 0.1], np.float32)
    arguments = {"key": jax.random.key(0), "kernel": KERNEL, "regularization": 1e-2, "tolerance": 1e-4}
    got = align(real, pool, spectral_power=power, method=method, **arguments)
    scaled = [_scaled(rows, real, pool, power) for rows in (real, pool)]
    want, optimum = _reference(*scaled, 1e-2)
    np.testing.assert_allclose(got.objective, optimum, rtol=2e-3)
    assert got.objective - got.gap <= optimum * 1.001
    np.testing.assert_allclose(got.weights, want, atol=0.03 * want.max())
    # What is reported of distances is in the space as given.
    np.testing.assert_allclose(got.mmd2_before, mmd2(real, pool, kernel=KERNEL), rtol=1e-3)
    np.testing.assert_allclose(
        got.mmd2_after, mmd2(real, pool, y_weights=got.weights, kernel=KERNEL), rtol=1e-3
    )
    np.testing.assert_allclose(got.score(pool), got.weights, atol=5e-3 * got.weights.max())


def test_a_spectral_power_does_not_ask_how_the_rows_lie() -> None:
    """Turned and shifted, or wider by constant columns, the rows get the same weights."""
    real, pool = _sets()
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0].astype("f4")
    arguments = {"key": jax.random.key(0), "kernel": KERNEL, "regularization": 1e-2, "tolerance": 1e-4}
    plain = align(real, pool, spectral_power=1.0, **arguments)
    wide = [np.pad(rows, ((0, 0), (0, 2))) @ turn + np.float32(7.0) for rows in (real, pool)]
    turned = align(*wide, spectral_power=1.0, **arguments)
    np.testing.assert_allclose(turned.weights, plain.weights, atol=5e-3 * plain.weights.max())


def test_a_spectral_power_keeps_few_real_rows_from_misleading() -> None:
    """In 60 dimensions, of which the pool's two halves differ in one, 15 rows tell the halves apart."""
    rng = np.random.default_rng(0)
    spread = np.concatenate([[1.0], np.full(59, 0.5)])
    draw = lambda n, at: (rng.normal(size=(n, 60)) * spread + at * np.eye(60)[0]).astype("f4")  # noqa: E731
    real, fresh = draw(15, 3.0), draw(3_000, 3.0)
    pool = np.concatenate([draw(200, 3.0), draw(200, -3.0)])
    kernel = rbf(6.0)
    errors = []
    for power in (0.0, "auto"):
        got = align(real, pool, key=jax.random.key(0), kernel=kernel, spectral_power=power)
        errors.append(float(mmd2(fresh, pool, y_weights=got.weights, kernel=kernel)))
    assert got.spectral_power > 0
    assert errors[1] < 0.7 * errors[0]


def test_a_pool_like_the_real_rows_is_left_as_it_is() -> None:
    """Of 12 samples that do not differ from their pool, at most a few are reweighed by chance."""
    reweighed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        real, pool = (rng.normal(size=(n, 8)).astype("f4") for n in (20, 300))
        got = align(real, pool, key=jax.random.key(seed), kernel=KERNEL)
        reweighed += got.ess < 0.95 * len(pool)
    assert reweighed <= 3


def test_a_gain_within_one_standard_error_is_not_trusted() -> None:
    """A gain of 1 in every row but for noise of standard deviation s: its error is s / sqrt(n)."""
    noise = np.tile([1.0, -1.0], 50)
    errors = np.ones((8, 100))
    for spread, expected in ((9.0, 3), (11.0, 7)):  # ddof = 1 makes s 0.5 % more
        errors[3] = spread * noise
        assert _trusted([errors], [1.0], 7) == expected
    # Two labels of half the weight each: gain and variance fall alike, as for one sample twice as large.
    errors[3] = 13.0 * noise
    assert _trusted([errors, errors], [0.25, 0.25], 7) == 3
    assert _trusted([errors, np.full((8, 1), np.nan)], [0.25, 0.25], 7) == 7


def test_distances_of_many_rows_are_estimated_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    real, pool = _sets(n=50, m=4_000)
    weights = np.random.default_rng(0).gamma(1.0, size=4_000)
    weights /= weights.sum()
    (problem,) = split(real, pool, None, None, None, KERNEL, None)
    exact = distance_to_real(problem, weights, jax.random.key(0))
    np.testing.assert_allclose(exact, mmd2(real, pool, y_weights=weights, kernel=KERNEL), rtol=1e-4)
    monkeypatch.setattr("synalign_jax.core.align.distance._ROWS", 400)
    guesses = [distance_to_real(problem, weights, jax.random.key(i)) for i in range(60)]
    assert np.std(guesses) > 0
    np.testing.assert_allclose(np.mean(guesses), exact, atol=4 * np.std(guesses) / 60**0.5)


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
    assert f"of 300 rows: MMD^2 {got.mmd2_before:.3g}" in repr(got)
    assert len(repr(got)) < 200
    k = np.exp(-cdist(fresh, fresh, "sqeuclidean") / (2 * SCALE**2))
    np.testing.assert_allclose(got.noise_band, (1 - (k.sum() - 3_000) / (3_000 * 2_999)) / 300, rtol=0.05)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_few_real_rows_are_left_out_one_by_one(power: float) -> None:
    """The held-out estimate at the chosen penalty, against a float64 solve for every row left out."""
    real, pool = _sets(n=12, m=30)
    got = align(real, pool, key=jax.random.key(0), kernel=KERNEL, spectral_power=power)
    k = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * SCALE**2))  # noqa: E731
    errors = []
    for i in range(len(real)):
        weights, _ = _reference(
            _scaled(np.delete(real, i, axis=0), real, pool, power),
            _scaled(pool, real, pool, power),
            got.regularization[None],
        )
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
        ({"spectral_power": -1.0}, "spectral_power: -1.0"),
        ({"spectral_power": "some"}, "spectral_power: 'some'"),
        ({"spectral_power": 1.0, "method": "projections"}, "method='projections' has none"),
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
