import jax.numpy as jnp
import numpy as np
import pytest

from synalign_jax.core.kernels import gram, rbf
from synalign_jax.core.mmd.mmd import mmd2
from synalign_jax.core.mmd.splits import quadratic_forms


@pytest.mark.parametrize("values", [1, 400, 10_000])
def test_forms_in_blocks_are_those_of_the_whole_matrix(values: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(97, 5)).astype(np.float32)
    vectors = rng.normal(size=(11, 97))
    whole = np.asarray(gram(rbf(1.5), jnp.asarray(points), jnp.asarray(points)), np.float64)
    expected = np.einsum("si,ij,sj->s", vectors, whole, vectors)
    found = quadratic_forms(rbf(1.5), points, vectors, values=values)
    # Blocks of another shape round the kernel's products otherwise.
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_difference_of_two_sets_gives_their_mmd2() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), 1 + rng.normal(size=(30, 3)).astype(np.float32)
    weights = rng.random(30)
    difference = np.concatenate([np.full(40, 1 / 40), -weights / weights.sum()])
    (found,) = quadratic_forms(rbf(2.0), np.concatenate([x, y]), difference[None])
    assert found == pytest.approx(float(mmd2(x, y, y_weights=weights, kernel=rbf(2.0))), rel=1e-4)
