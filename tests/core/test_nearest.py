"""nearest_rows: the nearest anchor, near the origin and far from it."""

import numpy as np
import pytest

from synalign_jax.core.nearest import nearest_rows


@pytest.mark.parametrize(("dtype", "offset"), [("f4", 0.0), ("f4", 3e3), ("f8", 1e7), ("f2", 0.0)])
def test_the_nearest_anchor_is_found_wherever_the_rows_lie(dtype: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    rows, anchors = (np.round(16 * rng.normal(size=(count, 5))) / 16 for count in (60, 40))
    distances = np.linalg.norm(rows[:, None] - anchors, axis=2)
    index, distance = nearest_rows((rows + offset).astype(dtype), (anchors + offset).astype(dtype))
    np.testing.assert_allclose(distance, distances.min(axis=1), rtol=1e-3)
    np.testing.assert_allclose(distances[np.arange(60), index], distances.min(axis=1), rtol=1e-6)
