"""Vectors of a run in half as many bytes: only where nobody can tell."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import synalign_jax as sa
from synalign_jax.core.kernels import gram, median_length_scale, rbf
from synalign_jax.pipeline.folder import Stage, StageView
from synalign_jax.pipeline.stages.embed import halved


def unit_rows(seed: int, rows: int, shift: float) -> np.ndarray:
    """As an encoder's: of unit length, about a common mean."""
    rng = np.random.default_rng(seed)
    points = 0.2 + shift * rng.normal(size=96) + rng.standard_normal((rows, 96))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e-3])
def test_the_distance_moves_by_far_less_than_the_noise_band(scale: float) -> None:
    real, pool = scale * unit_rows(0, 300, 0.0), scale * unit_rows(1, 400, 0.1)
    kernel = rbf(median_length_scale(real))
    (small_real, _), (small_pool, none) = halved(real), halved(pool)
    assert none is None
    assert small_real.dtype == small_pool.dtype == np.float16
    before = float(sa.mmd2(real, pool, kernel=kernel))
    after = float(sa.mmd2(small_real.astype("f4"), small_pool.astype("f4"), kernel=kernel))
    band = (1.0 - float(jnp.mean(gram(kernel, jnp.asarray(real), jnp.asarray(real))))) / len(real)
    assert before > band
    assert abs(after - before) < 1e-3 * band


@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        (unit_rows(0, 50, 0.0) + 1_000.0, "would lose .* of their spread"),
        (unit_rows(0, 50, 0.0) * 1e6, "numbers that float16 does not"),
        (unit_rows(0, 50, 0.0) * 1e-7, "would lose"),
        (np.full((3, 4), 0.1, np.float32), "would lose"),
    ],
)
def test_where_it_would_show_they_stay_as_they_are(vectors: np.ndarray, why: str) -> None:
    kept, note = halved(vectors)
    assert kept is vectors
    assert re.search(why, note or "")


def test_a_stage_reads_them_in_float32(tmp_path: Path) -> None:
    view = StageView(tmp_path, Stage("s", lambda: None, ("v",), ("v",)))
    view.write_array("v", np.array([[0.5, 1.25]], np.float16))
    read = view.read_array("v")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [[0.5, 1.25]])
