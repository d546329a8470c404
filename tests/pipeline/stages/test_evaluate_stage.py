"""The distances of a run: the same however they are summed."""

import numpy as np
import pytest

from synalign_jax.pipeline.stages import evaluate


def test_distances_of_many_rows_are_those_of_all_pairs(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    test, made = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 300))
    weights = rng.uniform(size=300)
    weighings = [np.full(300, 1 / 300), weights / weights.sum(), np.zeros(300)]
    exact = evaluate._to_test(test, made, weighings, 3.0, 0)
    squares = np.square(np.concatenate([test, made])[:, None] - np.concatenate([test, made])[None]).sum(-1)
    kernel = np.exp(-squares / 18.0)
    for value, own in zip(exact, weighings, strict=True):
        v = np.concatenate([np.full(40, -1 / 40), own])
        assert value == pytest.approx(v @ kernel @ v, rel=1e-4)
    monkeypatch.setattr(evaluate, "_ALL_PAIRS", 100)
    many = evaluate._to_test(test, made, weighings, 3.0, 0)
    np.testing.assert_allclose(many[:2], exact[:2], rtol=1e-3)
