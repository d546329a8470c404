"""The noise band of the report against simulated samples."""

import jax
import numpy as np

from synalign_jax.api.pool_report import _noise
from synalign_jax.core.kernels import rbf
from synalign_jax.core.padding import host_gram


def test_the_noise_band_is_that_of_fresh_samples_of_the_law() -> None:
    rng = np.random.default_rng(0)
    rows, width, scale = 80, 3, 2.0
    kernel = rbf(scale)

    def embedding(x: np.ndarray) -> np.ndarray:
        """E k(x, y) over a standard normal y."""
        narrowed = scale**2 / (scale**2 + 1.0)
        return narrowed ** (width / 2) * np.exp(-0.5 * np.sum(x**2, axis=1) / (scale**2 + 1.0))

    within = (scale**2 / (scale**2 + 2.0)) ** (width / 2)

    def distance(x: np.ndarray) -> float:
        K = host_gram(kernel, x.astype("f4"), x.astype("f4"))
        return float(K.mean(dtype="f8") - 2.0 * embedding(x).mean() + within)

    fresh = np.array([distance(rng.normal(size=(rows, width))) for _ in range(2_000)])
    found = np.array(
        [
            np.quantile(
                _noise(kernel, rng.normal(size=(rows, width)).astype("f4"), fresh.mean(), jax.random.key(i)),
                [0.05, 0.5, 0.95],
            )
            for i in range(8)
        ]
    ).mean(axis=0)
    np.testing.assert_allclose(found, np.quantile(fresh, [0.05, 0.5, 0.95]), rtol=0.1)


def test_a_label_of_few_rows_has_its_mean_for_a_band() -> None:
    assert set(_noise(rbf(1.0), np.zeros((3, 2), "f4"), 0.25, jax.random.key(0))) == {0.25}
