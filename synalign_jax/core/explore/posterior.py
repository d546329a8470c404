"""The Gaussian-process posterior variance of every row of a pool, as rows are observed.

With a fixed kernel the variance needs no targets and no refit: observing a row adds one row to a partial
Cholesky factor of the pool's covariance matrix (Harbrecht, Peters & Schneider, "On the low-rank
approximation by the pivoted Cholesky decomposition", 2012, algorithm 1), so a round costs one pass over
the pool, where refitting costs a cube.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from synalign_jax.core.checks import InputError, check_rows
from synalign_jax.core.kernels import Kernel, diagonal, gram

_PRECISION = jax.lax.Precision.HIGHEST


class PosteriorState(NamedTuple):
    """Which rows are observed, and what is still unknown of the others; a pytree.

    Attributes:
        points: (n, d) rows of the pool.
        kernel: the covariance function.
        noise: () observation noise sigma_n^2.
        factor: (n, capacity). With O the observed rows and L L^T = K_OO + noise I, the filled part is
            K_pool,O L^-T; the rest is zero.
        variance: (n,) k(z, z) - k_O(z)^T (K_OO + noise I)^-1 k_O(z) (SynAlign, equation 4), never negative.
        observed: (n,) which rows have been observed.
        count: () filled rows of the factor.
    """

    points: Float[Array, "n d"]
    kernel: Kernel
    noise: Float[Array, ""]
    factor: Float[Array, "n capacity"]
    variance: Float[Array, " n"]
    observed: Bool[Array, " n"]
    count: Int[Array, ""]


def posterior_init(points: Any, kernel: Kernel, *, capacity: int, noise: float = 1e-6) -> PosteriorState:
    """The prior: nothing observed yet.

    Args:
        points: (n, d) floating rows. Rows observed elsewhere are followed by appending them here.
        kernel: any tinygp kernel.
        capacity: how many rows may be observed in all; the factor takes capacity * n numbers.
        noise: sigma_n^2, in the units of the kernel's variance. 1e-6 stands for "none" in float32.

    Raises:
        InputError: bad rows, or a capacity below 1.
    """
    check_rows("points", points)
    if capacity < 1:
        raise InputError(f"capacity: {capacity}; at least one row must fit")
    points = jnp.asarray(points)
    prior = diagonal(kernel, points)
    return PosteriorState(
        points=points,
        kernel=kernel,
        noise=jnp.asarray(noise, points.dtype),
        factor=jnp.zeros((points.shape[0], capacity), points.dtype),
        variance=prior,
        observed=jnp.zeros(points.shape[0], bool),
        count=jnp.zeros((), jnp.int32),
    )


def posterior_update(state: PosteriorState, rows: Any) -> PosteriorState:
    """Observe one row or a block of rows; a block costs one pass over the pool.

    Rows observed before, and rows that the others leave no variance to (copies, above all), change nothing.
    Works inside `jax.jit` and `jax.lax.scan`. Outside of them every call copies the factor.

    Args:
        state: from `posterior_init` or an earlier update. Observing more rows than `capacity` is undefined.
        rows: () or (b,) integer indices into `state.points`.
    """
    rows = jnp.atleast_1d(jnp.asarray(rows))
    prior = gram(state.kernel, state.points, state.points[rows])
    return observe(state, rows, prior)


def observe(
    state: PosteriorState,
    rows: Int[Array, " b"],
    prior: Float[Array, "n b"],
    take: Bool[Array, ""] | bool = True,
    floor: Float[Array, " n"] | None = None,
) -> PosteriorState:
    """`posterior_update` for a caller that already holds the covariances `prior` of the pool with `rows`.

    Where `take` is False nothing changes; there must be room for the rows nevertheless. Rows whose variance
    is not above `floor` are left out; None leaves out those that rounding drowns.
    """
    covariance = prior - factor_product(state, state.factor[rows].T)
    if floor is None:
        least = resolution(covariance.dtype, diagonal(state.kernel, state.points[rows]))
    else:
        least = floor[rows]
    wanted = ~state.observed[rows] & ~_repeated(rows) & take
    step = _whiten(covariance[rows], least, wanted, state.noise)
    added = jnp.matmul(covariance, step.T, precision=_PRECISION)
    return state._replace(
        factor=jax.lax.dynamic_update_slice_in_dim(state.factor, added, state.count, axis=1),
        variance=jnp.maximum(state.variance - jnp.sum(added * added, axis=1), 0.0),
        observed=state.observed.at[rows].set(state.observed[rows] | take),
        count=state.count + jnp.where(take, rows.shape[0], 0),
    )


def resolution(dtype: Any, scale: Any) -> Any:
    """The posterior variance below which rounding drowns it, for prior variance `scale`."""
    return 32.0 * float(jnp.finfo(dtype).eps) * scale


def factor_product(state: PosteriorState, columns: Float[Array, "capacity b"]) -> Float[Array, "n b"]:
    """factor columns.

    With the factor's own rows, transposed, this is what the observed rows explain of their covariances,
    k_O(pool)^T (K_OO + noise I)^-1 k_O(rows).
    """
    return jnp.matmul(state.factor, columns, precision=_PRECISION)


def _repeated(rows: Int[Array, " b"]) -> Bool[Array, " b"]:
    """Which entries equal an earlier entry."""
    same = rows[:, None] == rows[None, :]
    return jnp.any(jnp.tril(same, -1), axis=1)


def _whiten(
    block: Float[Array, "b b"], floor: Float[Array, " b"], wanted: Bool[Array, " b"], noise: Float[Array, ""]
) -> Float[Array, "b b"]:
    """W with W^T W = (block + noise I)^-1 on the wanted rows that still have variance; zero rows elsewhere.

    W is the inverse of the lower Cholesky factor, by forward elimination: a pivot without variance left is
    dropped, where a library Cholesky would return NaN for the whole block.
    """
    b = block.shape[0]

    def eliminate(i: Int[Array, ""], carry: tuple) -> tuple:
        rest, whitener = carry
        keep = wanted[i] & (rest[i, i] > floor[i])
        pivot = jnp.where(keep, rest[i, i] + noise, 1.0)
        root = jnp.where(keep, jax.lax.rsqrt(pivot), 0.0)
        column = rest[:, i] * root
        below = jnp.arange(b) > i
        whitener = whitener.at[i].multiply(root)
        whitener = whitener - jnp.outer(jnp.where(below, column, 0.0), whitener[i])
        return rest - jnp.outer(column, column), whitener

    _, whitener = jax.lax.fori_loop(0, b, eliminate, (block, jnp.eye(b, dtype=block.dtype)))
    return whitener
