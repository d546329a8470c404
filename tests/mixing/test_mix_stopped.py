"""A mixture whose choice was stopped after any piece of its work goes on, to the same weights."""

import jax
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.checkpoint import NO_CHECKPOINT
from synalign_jax.mixing import everywhere


class Stopped(Exception):
    pass


class Pieces:
    """Keeps pieces in memory, and stops the work after the next one."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, np.ndarray]] = {}

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        return self.kept.get(name)

    def put(self, name: str, **arrays: np.ndarray) -> None:
        assert name not in self.kept, f"{name} was computed twice"
        self.kept[name] = {key: np.array(value) for key, value in arrays.items()}
        raise Stopped


def _mix(pieces: Pieces | None = None) -> sa.Mixture:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2, 460)
    x = (rng.normal(size=(460, 12)) + np.where(codes[:, None], 0.6, -0.6)).astype("f4")
    codes[60:] = np.where(rng.random(400) < 0.2, 1 - codes[60:], codes[60:])
    return sa.mix(
        x[:60],
        codes[:60],
        x[60:],
        codes[60:],
        key=jax.random.key(0),
        sample=150,
        checkpoint=pieces or NO_CHECKPOINT,
    )


def test_stopped_after_every_piece_it_ends_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everywhere, "_BLOCK", 64)
    monkeypatch.setattr(everywhere, "_PIECE", 128)
    whole, pieces, stops = _mix(), Pieces(), 0
    assert whole.weights.any(), "rows beyond the sample are weighed"
    while True:
        try:
            found = _mix(pieces)
            break
        except Stopped:
            stops += 1
    # Paths of two labels, opinions of two, students, arms, the mean's, and four pieces of the pool.
    assert stops == len(pieces.kept) >= 11
    np.testing.assert_array_equal(found.weights, whole.weights)
    assert found.summary() == whole.summary()
