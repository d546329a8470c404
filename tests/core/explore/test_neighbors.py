"""Shared searches against a KD-tree."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from synalign_jax.core.explore.neighbors import Neighbors
from synalign_jax.core.explore.observations import HostCovariance
from synalign_jax.core.kernels import rbf


@pytest.mark.parametrize("size", [70_000, 40])  # more than a block of rows, and fewer
def test_the_nearest_rows_in_one_pass_for_all_that_are_likely(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = np.random.default_rng(0).normal(size=(size, 3)).astype("f4") + np.float32(5.0)
    covariance = HostCovariance(rbf(1.0), pool)
    passes = []
    distances = HostCovariance.distances
    monkeypatch.setattr(
        HostCovariance, "distances", lambda self, rows: (passes.append(rows), distances(self, rows))[1]
    )
    neighbors = Neighbors(covariance, 4)
    rows = np.array([0, 7, 11, size - 1, 7])
    found = [neighbors.of(int(row), lambda count: rows[:count]) for row in rows[:4]]
    assert len(passes) == 1
    _, expected = cKDTree(pool.astype("f8")).query(pool[rows[:4]].astype("f8"), k=5)
    np.testing.assert_array_equal(found, expected)
    neighbors.of(3, lambda _: np.zeros(0, int))
    assert len(passes) == 2


def test_a_centre_alone_needs_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = np.random.default_rng(0).normal(size=(10, 3)).astype("f4")
    covariance = HostCovariance(rbf(1.0), pool)
    monkeypatch.delattr(HostCovariance, "distances")
    np.testing.assert_array_equal(Neighbors(covariance, 0).of(4, lambda _: np.zeros(0, int)), [4])
