"""The lazy explorer against the dense loop."""

import jax
import numpy as np
import pytest
from tinygp import kernels as tk
from tinygp.kernels.distance import L2Distance

from synalign_jax.core.explore import lazy
from synalign_jax.core.explore.explore import explore
from synalign_jax.core.kernels import rbf

KEY = jax.random.key(5)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "_FIRST_BATCH", 16)
    monkeypatch.setattr(lazy, "_BLOCK_VALUES", 512)


def pool(n: int, d: int, copies: int = 1) -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(10, d))
    x = centres[rng.integers(0, 10, n)] + rng.normal(size=(n, d)) * rng.gamma(2.0, 0.4, size=(n, 1))
    return np.repeat(x, copies, axis=0).astype(np.float32)


def both(x: np.ndarray, *, rounds: int, neighbors: int, memory: int = 1 << 16, **settings):
    settings = {"acquisition": "max_variance", "project": None, "key": KEY, **settings}
    dense = explore(x, rounds=rounds, neighbors=neighbors, **settings)
    return dense, explore(x, rounds=rounds, neighbors=neighbors, memory=memory, **settings)


@pytest.mark.parametrize("kernel", [rbf(3.0), tk.Matern32(4.0, distance=L2Distance())], ids=["rbf", "matern"])
def test_picks_equal_the_dense_loop(kernel) -> None:
    x = pool(2_000, 12)
    dense, stale = both(x, rounds=60, neighbors=4, kernel=kernel)
    np.testing.assert_array_equal(stale.clusters, dense.clusters)
    np.testing.assert_allclose(stale.variance, dense.variance, atol=2e-5)
    assert stale.recomputed < dense.recomputed


def test_copies_end_both_the_same_way() -> None:
    x = pool(30, 6, copies=40)
    dense, stale = both(x, rounds=50, neighbors=0, kernel=rbf(2.0))
    assert dense.status == stale.status == "variance exhausted"
    # Copies are ties; the picks are the same up to which copy stands for them.
    np.testing.assert_array_equal(stale.centers // 40, dense.centers // 40)


def test_rows_run_out() -> None:
    _, stale = both(pool(90, 6), rounds=200, neighbors=0, kernel=rbf(2.0), memory=1 << 10)
    assert stale.status == "rows exhausted"
    assert sorted(stale.centers) == list(range(90))


def test_rows_observed_elsewhere() -> None:
    x = pool(700, 8)
    dense, stale = both(x[:500], rounds=30, neighbors=1, kernel=rbf(3.0), observed=x[500:])
    np.testing.assert_array_equal(stale.clusters, dense.clusters)


def test_a_memory_map_far_from_the_origin(tmp_path) -> None:
    x = pool(600, 8)
    path = tmp_path / "pool.npy"
    np.save(path, x + np.float32(50.0))
    mapped = np.load(path, mmap_mode="r")
    dense, stale = both(mapped, rounds=30, neighbors=2, kernel=rbf(3.0))
    assert dense.recomputed > stale.recomputed
    np.testing.assert_array_equal(stale.centers, dense.centers)


def test_the_other_rules_take_a_sample_that_fits() -> None:
    x = pool(4000, 8)
    result = explore(x, rounds=10, key=KEY, memory=2560 * 8 * 1500)
    assert result.status == "complete"
    assert result.recomputed == 10 * 1500
    assert len(set(result.centers)) == 10
    assert result.clusters.max() >= 1500


def test_progress_tells_every_round() -> None:
    told = []
    both(pool(500, 8), rounds=12, neighbors=1, on_progress=lambda *step: told.append(step))
    assert told == [("rounds", i, 12) for i in range(1, 13)]
