import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation.measures.fidelity import (
    frechet_distance,
    frontier_area,
    manifold,
    mauve,
    vendi_score,
)


def _two(seed: int, n: int = 60, m: int = 50, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width))
    y = 0.3 + rng.normal(size=(m, width)) @ np.diag(np.linspace(0.5, 1.5, width))
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize(("n", "m"), [(60, 50), (4, 50), (4, 3)])
def test_the_frechet_distance_is_the_one_by_a_matrix_root(n: int, m: int) -> None:
    x, y = (rows.astype(np.float64) for rows in _two(0, n, m))
    own, other = np.cov(x.T), np.cov(y.T)
    root = sqrtm(own @ other).real
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(own + other - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-4)


def test_the_frechet_distance_of_normal_laws_on_a_line_is_known() -> None:
    # Of N(a, s^2) and N(b, t^2) it is (a - b)^2 + (s - t)^2.
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, (200_000, 1)), rng.normal(2, 3, (200_000, 1))
    assert frechet_distance(x, y) == pytest.approx(4 + 4, rel=0.02)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_precision_recall_density_and_coverage_by_counting_neighbours() -> None:
    x, y = _two(2)
    k = 5
    reach = [NearestNeighbors(n_neighbors=k + 1).fit(rows).kneighbors(rows)[0][:, -1] for rows in (x, y)]
    apart = np.linalg.norm(x[:, None] - y[None], axis=2)
    in_real = apart < reach[0][:, None]
    found = manifold(x, y, neighbors=k)
    assert found.precision == pytest.approx(in_real.any(axis=0).mean())
    assert found.recall == pytest.approx((apart < reach[1][None]).any(axis=1).mean())
    assert found.density == pytest.approx(in_real.sum(axis=0).mean() / k)
    assert found.coverage == pytest.approx(in_real.any(axis=1).mean())


def test_they_are_the_authors_own() -> None:
    prdc = pytest.importorskip("prdc")
    x, y = (rows.astype(np.float64) for rows in _two(3))
    expected = prdc.compute_prdc(x, y, nearest_k=5)
    for name, value in manifold(x, y)._asdict().items():
        assert value == pytest.approx(float(expected[name]), abs=1e-9), name


def test_the_vendi_score_counts_what_is_unlike() -> None:
    assert vendi_score(np.eye(6)) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(3), 4, axis=0)) == pytest.approx(3)
    assert vendi_score(np.ones((5, 2))) == pytest.approx(1)
    # Two directions at 60 degrees: eigenvalues 3/4 and 1/4.
    pair = np.array([[1, 0], [0.5, np.sqrt(0.75)]])
    assert vendi_score(pair) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_measures_do_not_see_shifts_rotations_and_order(seed: int) -> None:
    x, y = (rows.astype(np.float64) for rows in _two(seed, 30, 20))
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    moved = [(rng.permutation(rows) @ turn) + 7.0 for rows in (x, y)]
    assert frechet_distance(*moved) == pytest.approx(frechet_distance(x, y), rel=1e-6, abs=1e-8)
    np.testing.assert_allclose(manifold(*moved), manifold(x, y))


def test_the_area_under_the_frontier_of_two_buckets() -> None:
    p = np.array([0.5, 0.5])
    assert frontier_area(p, p) == pytest.approx(1)
    # Sets that share nothing: KL(q | r) = -log(1 - w) and KL(p | r) = -log w, so the curve is (1 - w)^5, w^5.
    w = np.linspace(0, 1, 100_001)
    curve = 1 - (1 - w) ** 5
    expected = float(np.sum((w[1:] ** 5 + w[:-1] ** 5) / 2 * np.diff(curve)))
    assert frontier_area(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(expected, abs=0.002)


def test_mauve_is_one_for_a_law_and_itself_and_near_zero_for_sets_apart() -> None:
    rng = np.random.default_rng(5)
    x, same = rng.normal(size=(2, 400, 4))
    near, far = (mauve(x, other, seed=0) for other in (same, same + 20))
    assert near > 0.9
    assert far < 0.02
    middle = mauve(x, np.where(np.arange(400)[:, None] % 2 == 0, same, same + 20), seed=0)
    assert far < middle < near


def test_mauve_is_the_authors_own() -> None:
    package = pytest.importorskip("mauve")
    rng = np.random.default_rng(6)
    centers = 10 * rng.normal(size=(8, 6))
    first, second = (centers[rng.choice(8, 400, p=p)] for p in (np.full(8, 1 / 8), np.arange(1, 9) / 36))
    x, y = (c + rng.normal(scale=0.1, size=c.shape) for c in (first, second))
    expected = package.compute_mauve(p_features=x, q_features=y, num_buckets=40, verbose=False).mauve
    # Clusters start at random places on both sides.
    assert mauve(x, y, seed=0) == pytest.approx(expected, abs=0.05)


def test_bad_rows_are_named() -> None:
    x, y = _two(4)
    y[3, 2] = np.nan
    for call in (frechet_distance, manifold, lambda a, b: mauve(a, b, seed=0)):
        with pytest.raises(InputError, match="y: row 3, column 2 is nan"):
            call(x, y)
        with pytest.raises(InputError, match="y: rows are 4 wide"):
            call(x, x[:, :4])
        with pytest.raises(InputError, match="1 row"):
            call(x, x[:1])
