"""The derivative that the encoder's linear maps give themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synalign_jax.text.model.layers import product


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_its_derivative_is_that_of_a_matrix_product(shape: tuple[int, ...]) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    x, w = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], (7, 4))
    towards = jax.random.normal(keys[2], (*shape[:-1], 4))

    def through(product):
        return jax.grad(lambda x, w: jnp.sum(towards * jnp.sin(product(x, w))), argnums=(0, 1))(x, w)

    for ours, reference in zip(through(product), through(jnp.matmul), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-6)
