"""Where distances are taken: the pool's principal components, those of large variance counting for more."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from synalign_jax.core.kernels import median_length_scale
from synalign_jax.core.padding import padded
from synalign_jax.core.pca import Components, principal_components
from synalign_jax.core.spacing import evenly_spaced

_SAMPLE = 8_192  # rows of the pool from which its principal components are taken
_LEFT_OUT = 1e-4  # share of the squared distances that the components left out make up
_STEP = 64  # the number of components is a multiple of this, so that few shapes are compiled


class Space(NamedTuple):
    """A linear map of rows: (row - mean) @ axes.

    Attributes:
        mean: (d,) of the pool.
        axes: (d, r) principal components times their scale.
    """

    mean: Float[Array, " d"]
    axes: Float[Array, "d r"]

    def __call__(self, rows: Any) -> Float[Array, "n r"]:
        """(n, d) rows in this space."""
        mapped = _mapped(self, jnp.asarray(padded(rows), self.axes.dtype))
        return jnp.asarray(np.asarray(mapped)[: len(rows)])


@jax.jit
def _mapped(space: Space, rows: Float[Array, "n d"]) -> Float[Array, "n r"]:
    return jnp.matmul(rows - space.mean, space.axes, precision="highest")


class Seen:
    """Rows of an array, mapped where they are sliced: the array may be memory-mapped."""

    def __init__(self, rows: Any, space: Space) -> None:
        self._rows, self._space = rows, space
        self.shape = (rows.shape[0], space.axes.shape[1])

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._space(self._rows[index]))


def pool_components(pool: Any, rows: np.ndarray) -> Components:
    """The principal components of a label's rows, or of evenly spaced ones among very many.

    Args:
        pool: (all rows of all labels, d), perhaps memory-mapped.
        rows: positions of the label's rows in it.
    """
    sample = _sample(pool, rows)
    return principal_components(sample, sample.shape[1])


def pool_space(
    real: Float[Array, "n d"], pool: Any, rows: np.ndarray, power: float, components: Components
) -> Space | None:
    """Component i scaled by (variance_i / variance_1)^(power / 2), the median distance kept as it is.

    With power 0 this is the space as given. The penalised optimum keeps a component of the density ratio by
    lambda / (lambda + gamma), lambda being its eigenvalue under the kernel and the pool, while a sample's
    noise is the same in all of them. Where the kernel is near to linear over the rows, a power p turns lambda
    into lambda^(1 + p): a filter that keeps the leading components more and drops the others sooner (compare
    Muandet, Sriperumbudur & Schoelkopf, "Kernel Mean Estimation via Spectral Filtering", NIPS 2014, section
    3). Reweighting can do little along a component in which the pool hardly varies.

    Args:
        real: (n, d) real rows.
        pool: (all rows of all labels, d), perhaps memory-mapped.
        rows: positions of the label's rows in it.
        power: 0 or more.
        components: `pool_components` of these rows.

    Returns:
        None when all rows of the pool are equal: there is no direction to prefer.
    """
    if not components.variance[0] > 0:
        return None
    scale = (components.variance / components.variance[0]) ** (0.5 * power)
    tail = np.cumsum((scale**2 * components.variance)[::-1])[::-1]
    kept = int(np.count_nonzero(tail > _LEFT_OUT * tail[0]))
    kept = min(len(scale), _STEP * -(-kept // _STEP))
    axes = (components.axes * scale)[:, :kept]
    both = np.concatenate([_some(np.asarray(real)), _some(_sample(pool, rows))]).astype(np.float64)
    ratio = median_length_scale(both) / median_length_scale((both - components.mean) @ axes)
    return Space(jnp.asarray(components.mean, real.dtype), jnp.asarray(ratio * axes, real.dtype))


def _sample(pool: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(pool[rows[evenly_spaced(len(rows), _SAMPLE)]])


def _some(rows: np.ndarray) -> np.ndarray:
    """At most 512 evenly spaced rows, those from which the default length scale is taken."""
    return rows[evenly_spaced(len(rows), 512)]
