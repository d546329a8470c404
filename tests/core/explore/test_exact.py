"""Decisions in float64 against direct solves, where rows are nearly exhausted."""

import numpy as np
import pytest

from synalign_jax.core.explore.exact import Exact
from synalign_jax.core.kernels import rbf

NOISE = 1e-6


def scores(x: np.ndarray, seen: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Variances and scores of all rows, by a direct solve."""
    x = x.astype(np.float64)
    k = np.exp(-0.5 * np.sum((x[:, None] - x) ** 2, axis=2) / 16.0)
    left = k - k[:, seen] @ np.linalg.solve(k[np.ix_(seen, seen)] + NOISE * np.eye(len(seen)), k[seen])
    variance = np.diag(left)
    return variance, variance if weights is None else (weights @ left**2) / (variance + NOISE)


@pytest.mark.parametrize("integrated", [False, True])
def test_the_best_of_nearly_exhausted_rows_is_the_best_by_a_direct_solve(integrated: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 2)).astype(np.float32)
    weights = np.full(160, 1 / 160)
    exact = Exact(
        x, rbf(4.0), neighbors=1, priority=rng.uniform(size=160), noise=NOISE,
        references=(np.arange(160), weights) if integrated else None,
    )  # fmt: skip
    chosen, smallest = [], 1.0
    for _ in range(12):
        rows = np.flatnonzero(~exact.observed)
        decision = exact.best(rows)
        assert decision.center is not None
        if chosen:
            variance, score = scores(x, np.array(chosen), weights if integrated else None)
            best = float(score[rows[variance[rows] > 3.9e-6]].max())
            gap = (best - score[decision.center]) / best
            assert gap < 1e-5, f"round {len(chosen)}: {gap:.1e} of the best score was missed"
            assert decision.variance == pytest.approx(variance[decision.center], abs=1e-8)
            smallest = min(smallest, decision.variance)
        exact.observe(np.array([decision.center]))
        chosen.append(decision.center)
    assert smallest < 1e-2


def test_copies_are_ties_that_the_priority_decides() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=(6, 5)), 10, axis=0).astype(np.float32)
    priority = rng.uniform(size=60)
    exact = Exact(x, rbf(1.5), neighbors=2, priority=priority, noise=NOISE)
    exact.observe(np.array([0]))
    decision = exact.best(np.arange(60))
    copies = np.flatnonzero(np.arange(60) // 10 == decision.center // 10)
    assert decision.center == copies[np.argmax(priority[copies])]
    assert set(decision.spent) == set(range(10))
    # Of rows equally near the first are shown.
    others = copies[copies != decision.center]
    np.testing.assert_array_equal(exact.cluster(decision.center), [decision.center, *others[:2]])
