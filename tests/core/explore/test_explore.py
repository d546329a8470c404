import jax
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.neighbors import KDTree
from tinygp import kernels as tk

from synalign_jax.core.checks import InputError
from synalign_jax.core.explore.explore import explore
from synalign_jax.core.kernels import median_length_scale, rbf

KEY = jax.random.key(3)


def clustered(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Rows around a few centres, unit norm: the shape of sentence embeddings."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d))
    x = centres[rng.integers(0, 12, n)] + rng.normal(size=(n, d)) * rng.gamma(2.0, 0.3, size=(n, 1))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def refit_loop(x: np.ndarray, length_scale: float, rounds: int, neighbors: int, first: int):
    """The authors' loop: refit, predict over the pool, take the nearest rows from a tree."""
    x = x.astype(np.float64)
    tree = KDTree(x)
    seen: list[int] = []
    centers, clusters, variance = [], [], []
    for round_ in range(rounds):
        if round_ == 0:
            center, value = first, 1.0
        else:
            process = GaussianProcessRegressor(RBF(length_scale), optimizer=None, alpha=1e-6)
            deviation = process.fit(x[seen], np.zeros(len(seen))).predict(x, return_std=True)[1]
            deviation[seen] = -1.0
            center, value = int(np.argmax(deviation)), float(np.max(deviation)) ** 2
        cluster = tree.query(x[center : center + 1], k=neighbors + 1)[1][0]
        seen += [int(i) for i in cluster if i not in seen]
        centers.append(center)
        clusters.append(cluster)
        variance.append(value)
    return np.array(centers), np.array(clusters), np.array(variance)


@pytest.mark.parametrize("neighbors", [0, 3])
def test_picks_equal_the_refit_loop(neighbors: int) -> None:
    x = clustered(700, 24)
    scale = median_length_scale(x)
    ours = explore(
        x,
        rounds=40,
        neighbors=neighbors,
        key=KEY,
        kernel=rbf(scale),
        acquisition="max_variance",
        project=None,
    )
    centers, clusters, variance = refit_loop(x, scale, 40, neighbors, int(ours.centers[0]))
    np.testing.assert_array_equal(ours.centers, centers)
    np.testing.assert_array_equal(ours.clusters, clusters)
    np.testing.assert_allclose(ours.variance, variance, atol=1e-5)
    assert ours.status == "complete"


def test_integrated_variance_picks_what_lowers_the_total_most() -> None:
    x = clustered(150, 6)
    kernel = rbf(0.7 * median_length_scale(x))
    ours = explore(
        x, rounds=12, neighbors=0, key=KEY, kernel=kernel, acquisition="integrated_variance", project=None
    )
    covariance = np.asarray(kernel(x, x), np.float64)
    for center in ours.centers:
        totals = [np.trace(covariance - np.outer(c, c) / (c[i] + 1e-6)) for i, c in enumerate(covariance)]
        assert totals[center] <= min(totals) + 1e-4
        column = covariance[center]
        covariance = covariance - np.outer(column, column) / (column[center] + 1e-6)


@pytest.mark.parametrize("acquisition", ["max_variance", "integrated_variance"])
@pytest.mark.parametrize("project", [None, 3, "auto"])
def test_shapes_and_uniqueness(acquisition: str, project) -> None:
    x = clustered(300, 16)
    result = explore(x, rounds=25, neighbors=2, key=KEY, acquisition=acquisition, project=project)
    assert result.centers.shape == (25,)
    assert result.clusters.shape == (25, 3)
    assert len(set(result.centers)) == 25
    np.testing.assert_array_equal(result.clusters[:, 0], result.centers)
    assert all(len(set(cluster)) == 3 for cluster in result.clusters)
    again = explore(x, rounds=25, neighbors=2, key=KEY, acquisition=acquisition, project=project)
    np.testing.assert_array_equal(result.clusters, again.clusters)


def test_a_length_scale_too_small_to_see_anything_gives_random_picks_not_file_order() -> None:
    x = clustered(400, 64)
    result = explore(
        x, rounds=30, neighbors=0, key=KEY, kernel=rbf(0.01), acquisition="max_variance", project=None
    )
    assert np.corrcoef(result.centers, np.arange(30))[0, 1] < 0.9
    assert not np.array_equal(np.sort(result.centers), np.arange(30))


def test_labels_are_explored_as_pools_of_their_own() -> None:
    x = clustered(300, 8)
    labels = np.array(["b", "a", "c"])[np.arange(300) % 3]
    result = explore(x, rounds=5, neighbors=2, key=KEY, labels=labels)
    assert result.labels == ["b"] * 5 + ["a"] * 5 + ["c"] * 5
    for cluster, label in zip(result.clusters, result.labels, strict=True):
        assert set(labels[cluster]) == {label}
    alone = explore(x[labels == "a"], rounds=5, neighbors=2, key=jax.random.fold_in(KEY, 1))
    np.testing.assert_array_equal(np.flatnonzero(labels == "a")[alone.centers], result.centers[5:10])


def test_rows_observed_elsewhere_are_avoided() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 100, 4)).astype(np.float32) * 0.3
    pool = np.concatenate([left - 5, right + 5])
    for acquisition in ("max_variance", "integrated_variance"):
        seen = explore(
            pool,
            rounds=10,
            neighbors=0,
            key=KEY,
            kernel=rbf(2.0),
            acquisition=acquisition,
            project=None,
            observed=right + 5.01,
        )
        assert np.all(seen.centers[:8] < 100)


def test_observed_rows_equal_rows_of_the_pool_that_cannot_be_picked() -> None:
    x = clustered(260, 10)
    pool, outside = x[:160], x[160:]
    result = explore(
        pool, rounds=6, neighbors=0, key=KEY, kernel=rbf(1.0), acquisition="max_variance", project=None,
        observed=outside,
    )  # fmt: skip
    seen = list(range(160, 260))
    x64 = x.astype(np.float64)
    for center, variance in zip(result.centers, result.variance, strict=True):
        process = GaussianProcessRegressor(RBF(1.0), optimizer=None, alpha=1e-6)
        deviation = process.fit(x64[seen], np.zeros(len(seen))).predict(x64, return_std=True)[1]
        deviation[seen] = -1.0
        assert center == np.argmax(deviation)
        assert variance == pytest.approx(deviation[center] ** 2, abs=1e-5)
        seen.append(int(center))


@pytest.mark.parametrize("acquisition", ["max_variance", "integrated_variance"])
def test_more_rounds_than_rows_stops_early_and_says_so(acquisition: str) -> None:
    x = clustered(20, 6)
    result = explore(x, rounds=50, neighbors=0, key=KEY, acquisition=acquisition, project=None)
    assert result.status == "rows exhausted"
    assert sorted(result.centers) == list(range(20))


@pytest.mark.parametrize("acquisition", ["max_variance", "integrated_variance"])
def test_copies_by_the_thousand_are_never_picked_twice(acquisition: str) -> None:
    distinct = clustered(7, 12)
    x = np.tile(distinct, (300, 1))
    result = explore(x, rounds=20, neighbors=2, key=KEY, acquisition=acquisition, project=None)
    assert result.status == "variance exhausted"
    assert sorted(result.centers % 7) == list(range(7))


@pytest.mark.parametrize("acquisition", ["max_variance", "integrated_variance"])
def test_any_tinygp_kernel(acquisition: str) -> None:
    x = clustered(120, 5)
    custom = tk.Custom(lambda a, b: 2.0 * np.float32(1.0) / (1.0 + ((a - b) ** 2).sum()))
    for kernel in (custom, tk.Matern52(1.0) + tk.Constant(0.1)):
        result = explore(x, rounds=8, key=KEY, kernel=kernel, acquisition=acquisition, project=None)
        assert len(set(result.centers)) == 8
        assert np.all(result.variance <= 2.2)


def test_one_row() -> None:
    result = explore(np.ones((1, 4), np.float32), rounds=1, neighbors=0, key=KEY)
    np.testing.assert_array_equal(result.clusters, [[0]])


def test_bad_input_is_named() -> None:
    x = clustered(30, 4)
    with pytest.raises(InputError, match="one cluster needs 4"):
        explore(x[:3], rounds=1, key=KEY)
    with pytest.raises(InputError, match="rounds: 0"):
        explore(x, rounds=0, key=KEY)
    with pytest.raises(InputError, match="'rare' has 2 row"):
        explore(x, rounds=1, key=KEY, labels=["rare"] * 2 + ["common"] * 28)
    with pytest.raises(InputError, match="labels: 2 for 30"):
        explore(x, rounds=1, key=KEY, labels=["a", "b"])
    with pytest.raises(InputError, match="acquisition: 'best'"):
        explore(x, rounds=1, key=KEY, acquisition="best")
    with pytest.raises(InputError, match="project: 5"):
        explore(x, rounds=1, key=KEY, project=5)
    with pytest.raises(InputError, match="identical"):
        explore(np.ones((30, 4), np.float32), rounds=1, key=KEY)
    with pytest.raises(InputError, match="observed: rows are 3 wide, 4 expected"):
        explore(x, rounds=1, key=KEY, observed=x[:, :3])
    with pytest.raises(InputError, match=r"k\(x, x\) is -1"):
        explore(x, rounds=1, key=KEY, kernel=tk.Constant(-1.0))
    x[7, 2] = np.nan
    with pytest.raises(InputError, match="row 7, column 2 is nan"):
        explore(x, rounds=1, key=KEY)
