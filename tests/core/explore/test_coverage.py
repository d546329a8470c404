import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synalign_jax.core.checks import InputError
from synalign_jax.core.explore.coverage import best_cosine, hull_coverage


def test_hull_coverage_of_nested_squares() -> None:
    outer = np.array([[-2, -1], [2, -1], [2, 1], [-2, 1]], np.float64)
    pool = np.concatenate([outer, outer / 2])
    assert hull_coverage(pool, [0, 1, 2, 3]) == pytest.approx(1.0)
    assert hull_coverage(pool, [4, 5, 6, 7]) == pytest.approx(0.25)
    assert hull_coverage(pool, [4, 5]) == 0.0
    assert hull_coverage(pool, []) == 0.0
    assert hull_coverage(pool, [0, 4, 6], dims=2) == pytest.approx(0.0, abs=1e-12)  # on one line
    assert hull_coverage(pool, [4, 6], dims=1) == pytest.approx(0.5, abs=0.1)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_hull_coverage_ignores_motions_and_grows(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(60, 6)) * np.array([6, 5, 4, 3, 2, 1])
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    chosen = rng.permutation(60)
    value = hull_coverage(pool, chosen[:20], dims=dims)
    assert hull_coverage(3.0 * pool @ rotation + 7.0, chosen[:20], dims=dims) == pytest.approx(
        value, abs=1e-6
    )
    assert value <= hull_coverage(pool, chosen[:40], dims=dims) + 1e-9
    assert hull_coverage(pool, chosen, dims=dims) == pytest.approx(1.0)


def test_best_cosine_by_hand() -> None:
    pool = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert best_cosine(pool, [0]) == pytest.approx((1 + 0 + 0.5**0.5) / 3)
    assert best_cosine(pool, [0, 1, 1]) == pytest.approx((1 + 1 + 0.5**0.5) / 3)
    assert best_cosine(pool, [0, 1, 2]) == pytest.approx(1.0)


def test_bad_input_is_named() -> None:
    pool = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])
    with pytest.raises(InputError, match="row 3 is zero"):
        best_cosine(pool, [0])
    with pytest.raises(InputError, match="no rows"):
        best_cosine(pool[:3], [])
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        best_cosine(pool[:3], [3])
    with pytest.raises(InputError, match="integer"):
        hull_coverage(pool, [0.5])
    with pytest.raises(InputError, match="no volume"):
        hull_coverage(np.ones((5, 3)), [0, 1])
