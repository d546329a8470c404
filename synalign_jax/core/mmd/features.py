"""Random projections Theta and the feature maps phi_Theta whose inner products are unbiased for a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from tinygp import kernels as tk
from tinygp.kernels.distance import L2Distance

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import Kernel


@partial(jax.tree_util.register_dataclass, data_fields=("theta", "scale"), meta_fields=("periodic",))
@dataclass(frozen=True)
class FeatureMap:
    """phi(x) = scale * (cos x Theta, sin x Theta), or scale * x Theta when not periodic (the linear kernel).

    `theta` is (d, r): the random projections of SynAlign, section 3.3.
    """

    theta: Float[Array, "d r"]
    scale: Float[Array, " r"]
    periodic: bool


def random_features(
    kernel: Kernel,
    width: int,
    count: int,
    *,
    key: PRNGKeyArray,
    kind: str = "orthogonal",
) -> FeatureMap:
    """Draw Theta so that E phi(x) . phi(y) = k(x, y).

    Random Fourier features for RBF, inverse multiquadric and rational quadratic, Euclidean Laplace and Matern
    kernels, and their weighted sums; a Gaussian random projection for the linear kernel. `kind="orthogonal"`
    makes the rows of each group of `width` projections orthogonal, which keeps the expectation and lowers the
    variance.

    Source: Rahimi & Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007, algorithm 1;
    Yu et al., "Orthogonal Random Features", NeurIPS 2016, equation 4.

    Args:
        kernel: one of the kernels above.
        width: columns of the embeddings.
        count: number of projections; Fourier features are twice as many.
        key: a fresh one a step gives fresh, unbiased projections.
        kind: "orthogonal" or "independent".

    Raises:
        InputError: a kernel without a known spectrum, or a count below 1.
    """
    if count < 1:
        raise InputError(f"count: {count}; at least one projection is needed")
    if kind not in ("orthogonal", "independent"):
        raise InputError(f"kind: {kind!r}; choose 'orthogonal' or 'independent'")
    direction_key, radius_key = jax.random.split(key)
    draw = _orthogonal_gaussian if kind == "orthogonal" else _gaussian
    gaussian = draw(width, count, direction_key)
    if isinstance(kernel, tk.DotProduct):
        return FeatureMap(gaussian, jnp.full(count, count**-0.5), periodic=False)
    parts = _summands(kernel)
    if len(parts) > count:
        raise InputError(
            f"count: {count} projections for a sum of {len(parts)} kernels; use at least one each"
        )
    # Each summand gets its own, equal share of the columns.
    bounds = [round(i * count / len(parts)) for i in range(len(parts) + 1)]
    theta, scale = [], []
    for (amplitude, part), start, stop, part_key in zip(
        parts, bounds[:-1], bounds[1:], jax.random.split(radius_key, len(parts)), strict=True
    ):
        theta.append(gaussian[:, start:stop] * _spectral_radius(part, stop - start, part_key))
        scale.append(jnp.full(stop - start, jnp.sqrt(amplitude / (stop - start))))
    return FeatureMap(jnp.concatenate(theta, axis=1), jnp.concatenate(scale), periodic=True)


def features(mapping: FeatureMap, x: Float[Array, "n d"]) -> Float[Array, "n features"]:
    """phi(x_i), one row each: 2 r columns for a periodic map, r for the linear one."""
    projected = jnp.matmul(x, mapping.theta.astype(x.dtype), precision=jax.lax.Precision.HIGHEST)
    scale = mapping.scale.astype(x.dtype)
    if not mapping.periodic:
        return projected * scale
    return jnp.concatenate([jnp.cos(projected) * scale, jnp.sin(projected) * scale], axis=1)


def _gaussian(width: int, count: int, key: PRNGKeyArray) -> Float[Array, "d r"]:
    return jax.random.normal(key, (width, count))


def _orthogonal_gaussian(width: int, count: int, key: PRNGKeyArray) -> Float[Array, "d r"]:
    """Columns that are standard normal each, and orthogonal within every group of `width`."""
    groups = -(-count // width)
    direction_key, length_key = jax.random.split(key)
    # The Q of a Gaussian matrix is Haar distributed once the signs of R's diagonal are fixed; a
    # chi-distributed length makes each column Gaussian again.
    q, r = jnp.linalg.qr(jax.random.normal(direction_key, (groups, width, width)))
    q = q * jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))[:, None, :]
    columns = jnp.moveaxis(q, 0, 1).reshape(width, groups * width)[:, :count]
    return columns * jnp.sqrt(jax.random.chisquare(length_key, width, (count,)))


def _summands(kernel: Kernel) -> list[tuple[Float[Array, ""], Kernel]]:
    """The kernel as amplitudes times stationary kernels."""
    if isinstance(kernel, tk.Sum):
        return _summands(kernel.kernel1) + _summands(kernel.kernel2)
    if isinstance(kernel, tk.Product):
        one, other = kernel.kernel1, kernel.kernel2
        if isinstance(one, tk.Constant):
            one, other = other, one
        if isinstance(other, tk.Constant):
            return [(amplitude * jnp.asarray(other.value), part) for amplitude, part in _summands(one)]
    return [(jnp.ones(()), kernel)]


def _spectral_radius(kernel: Kernel, count: int, key: PRNGKeyArray) -> Float[Array, " r"]:
    """Factors of standard normal frequencies: every kernel here is a scale mixture of RBF kernels."""
    if isinstance(kernel, tk.Stationary) and type(kernel.distance) is L2Distance:
        if type(kernel) is tk.ExpSquared:
            return jnp.full(count, 1.0 / kernel.scale)
        if type(kernel) is tk.RationalQuadratic:
            alpha = jnp.asarray(kernel.alpha)
            return jnp.sqrt(jax.random.gamma(key, alpha, (count,)) / alpha) / kernel.scale
        # The spectrum of a Matern kernel of smoothness nu is a Student t with 2 nu degrees of freedom.
        freedom = {tk.Exp: 1.0, tk.Matern32: 3.0, tk.Matern52: 5.0}.get(type(kernel))
        if freedom is not None:
            return jnp.sqrt(freedom / jax.random.chisquare(key, freedom, (count,))) / kernel.scale
    raise InputError(
        f"kernel: {type(kernel).__name__} has no known random features; use RBF, inverse multiquadric,"
        " Laplace, Matern (all Euclidean), a weighted sum of these, or the linear kernel"
    )
