"""A solve that was stopped after any piece of its work goes on, to the same weights."""

import jax
import numpy as np
import pytest

from synalign_jax.core.align import align as solving
from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.checkpoint import NO_CHECKPOINT


class Stopped(Exception):
    pass


class Pieces:
    """Keeps pieces in memory, and stops the work after the next one."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, np.ndarray]] = {}
        self.stops = True

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        return self.kept.get(name)

    def put(self, name: str, **arrays: np.ndarray) -> None:
        assert name not in self.kept, f"{name} was computed twice"
        self.kept[name] = {key: np.array(value) for key, value in arrays.items()}
        if self.stops:
            raise Stopped


def _solve(method: str, pieces: Pieces | None = None) -> Alignment:
    rng = np.random.default_rng(0)
    real, pool = rng.normal(size=(60, 6)), rng.normal(0.3, 1.2, size=(400, 6))
    return align(
        real.astype(np.float32),
        pool.astype(np.float32),
        key=jax.random.key(0),
        real_labels=[0, 1] * 30,
        synthetic_labels=[0, 1] * 200,
        method=method,
        checkpoint=pieces or NO_CHECKPOINT,
    )


def test_stopped_after_every_piece_it_ends_with_the_same_weights() -> None:
    whole, pieces, stops = _solve("landmarks"), Pieces(), 0
    while True:
        try:
            found = _solve("landmarks", pieces)
            break
        except Stopped:
            stops += 1
    # Cross-validation and fit of two labels, and the solves and passes of each.
    assert stops == len(pieces.kept) >= 10
    np.testing.assert_array_equal(found.weights, whole.weights)
    assert found.summary() == whole.summary()
    later = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    np.testing.assert_array_equal(found.score(later, [0, 1] * 10), whole.score(later, [0, 1] * 10))


def test_what_is_kept_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Pieces()
    pieces.stops = False
    whole = _solve("exact", pieces)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(solving, "fit_exact", never)
    monkeypatch.setattr("synalign_jax.core.align.regularization._errors", never)
    np.testing.assert_array_equal(_solve("exact", pieces).weights, whole.weights)
