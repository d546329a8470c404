"""Random features: their mean over keys is the kernel, for every kernel that has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tinygp import kernels as tk

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import gram, inverse_multiquadric, laplace, linear, rbf, rbf_mixture
from synalign_jax.core.mmd.features import features, random_features
from synalign_jax.core.mmd.mmd import mmd2

KERNELS = {
    "rbf": rbf(1.5),
    "mixture": rbf_mixture([0.7, 2.0], [0.3, 0.7]),
    "imq": inverse_multiquadric(2.0),
    "laplace": laplace(2.0),
    "matern": tk.Matern52(scale=2.0, distance=tk.distance.L2Distance()),
    "linear": linear(),
}


@pytest.mark.parametrize("kind", ["orthogonal", "independent"])
@pytest.mark.parametrize("name", KERNELS)
def test_products_of_features_are_the_kernel_on_average(name: str, kind: str) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5)), jnp.float32)
    kernel = KERNELS[name]

    def product(key):
        phi = features(random_features(kernel, 5, 64, key=key, kind=kind), x)
        return phi @ phi.T

    draws = jax.vmap(product)(jax.random.split(jax.random.key(0), 400))
    error = draws.std(axis=0) / np.sqrt(400)
    assert (np.abs(draws.mean(axis=0) - gram(kernel, x, x)) < 5 * error + 1e-4).all()


@pytest.mark.parametrize("statistic", ["v", "u"])
def test_projected_mmd2_is_unbiased(statistic: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)).astype("f4"), rng.normal(size=(30, 5)).astype("f4") + 0.4
    weights = rng.uniform(size=30)
    exact = mmd2(x, y, y_weights=weights, kernel=rbf(2.0), statistic=statistic)
    one = jax.jit(
        lambda key: mmd2(
            x, y, y_weights=weights, statistic=statistic, theta=random_features(rbf(2.0), 5, 32, key=key)
        )
    )
    draws = np.array([one(key) for key in jax.random.split(jax.random.key(1), 300)])
    assert abs(draws.mean() - exact) < 4 * draws.std() / np.sqrt(300)


def test_orthogonal_projections_vary_less() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16)) * 0.4, jnp.float32)

    def spread(kind: str) -> float:
        def product(key):
            phi = features(random_features(rbf(1.0), 16, 16, key=key, kind=kind), x)
            return phi[0] @ phi[1]

        return float(jax.vmap(product)(jax.random.split(jax.random.key(0), 400)).std())

    assert spread("orthogonal") < 0.8 * spread("independent")


def test_bad_requests_are_named() -> None:
    with pytest.raises(InputError, match="ExpSineSquared has no known random features"):
        random_features(tk.ExpSineSquared(scale=1.0, gamma=1.0), 5, 8, key=jax.random.key(0))
    with pytest.raises(InputError, match="count: 0"):
        random_features(rbf(1.0), 5, 0, key=jax.random.key(0))
    with pytest.raises(InputError, match=r"length_scale: -1\.0"):
        inverse_multiquadric(-1.0)
