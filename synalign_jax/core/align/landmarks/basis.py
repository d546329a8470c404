"""Landmarks: rows of the pool in whose span the witness is sought, and what that span misses of others."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from synalign_jax.core.align.problem import BLOCK, Problem, View, centred, mean_columns
from synalign_jax.core.kernels import Kernel, gram
from synalign_jax.core.sharding import put_rows

_HIGHEST = jax.lax.Precision.HIGHEST
_SAMPLE = 4_096  # rows from which what landmarks miss is estimated


class Basis(NamedTuple):
    """Landmarks l, their mean kernel with the real rows, and <phi~(l), phi~(l')> with its Cholesky factor.

    phi~ is the kernel's feature, centred at the mean of the real rows.
    """

    kernel: Kernel
    real: Float[Array, "n d"]
    landmarks: Float[Array, "s d"]
    attraction: Float[Array, " s"]
    within_real: Float[Array, ""]
    within: Float[Array, "s s"]
    factor: Float[Array, "s s"]

    def level(self, v: np.ndarray) -> float:
        """By how much -sum_l v_l <phi~(e), phi~(l)> exceeds the signed witness of v, at every e."""
        return float(v @ np.asarray(self.attraction, np.float64) - float(self.within_real) * v.sum())


def basis_of(problem: Problem, positions: np.ndarray) -> Basis:
    """The rows of the pool at `positions` as landmarks."""
    landmarks = problem.take(np.sort(positions))
    attraction = mean_columns(problem.kernel, landmarks, problem.real)
    within = _ridged(centred(gram(problem.kernel, landmarks, landmarks), attraction, problem.within_real))
    level = jnp.asarray(problem.within_real, landmarks.dtype)
    factor = jnp.linalg.cholesky(within)
    return Basis(problem.kernel, problem.real, landmarks, attraction, level, within, factor)


@jax.jit
def _ridged(within: Float[Array, "s s"]) -> Float[Array, "s s"]:
    """A ridge at rounding level keeps duplicate landmarks apart; dual bounds hold with it as without."""
    # Rounding of the entries perturbs eigenvalues by about eps sqrt(s) times the largest entry.
    size = within.shape[0]
    scale = 8.0 * jnp.finfo(within.dtype).eps * size**0.5 * jnp.max(jnp.diagonal(within))
    return within + scale * jnp.eye(size, dtype=within.dtype)


@jax.jit
def cross(basis: Basis, rows: Float[Array, "m d"]) -> Float[Array, "m s"]:
    """<phi~(row), phi~(landmark)>."""
    towards = mean_columns(basis.kernel, rows, basis.real)
    values = gram(basis.kernel, rows, basis.landmarks)
    return values - towards[:, None] - basis.attraction[None, :] + basis.within_real


def cross_of_pool(
    problem: Problem, basis: Basis, positions: np.ndarray, mesh: Mesh | None
) -> Float[Array, "m s"]:
    """`cross` for the rows of the pool at `positions`; with a mesh, on which `basis` is, split over it."""
    if mesh is not None:
        return cross(basis, put_rows(View(problem, positions), mesh))
    m = len(positions)
    block = min(BLOCK, m)
    held = jnp.empty((m, len(basis.landmarks)), basis.landmarks.dtype)
    for start in range(0, m, block):
        start = min(start, m - block)  # the last block overlaps: one shape to compile
        rows = problem.take(positions[start : start + block])
        held = _put(held, basis, rows, jnp.asarray(start))
    return held


@partial(jax.jit, donate_argnums=0)
def _put(
    held: Float[Array, "m s"], basis: Basis, rows: Float[Array, "b d"], start: Int[Array, ""]
) -> Float[Array, "m s"]:
    return jax.lax.dynamic_update_slice_in_dim(held, cross(basis, rows), start, 0)


@jax.jit
def missed(basis: Basis, rows: Float[Array, "t d"]) -> Float[Array, "t t"]:
    """Inner products of what the span of the landmarks leaves of each row."""
    towards = mean_columns(basis.kernel, rows, basis.real)
    values = centred(gram(basis.kernel, rows, rows), towards, basis.within_real)
    seen = jax.scipy.linalg.solve_triangular(basis.factor, cross(basis, rows).T, lower=True)
    return values - jnp.matmul(seen.T, seen, precision=_HIGHEST)


def missed_of_sample(problem: Problem, basis: Basis, positions: np.ndarray) -> Float[Array, "t t"]:
    """`missed` for rows of the pool, the last of `positions`."""
    return missed(basis, problem.take(np.sort(positions[-min(_SAMPLE, len(positions)) :])))


def squared_norm(
    problem: Problem, basis: Basis, moment: np.ndarray, w: np.ndarray, key: PRNGKeyArray
) -> float:
    """|sum_j w_j phi~(e_j)|^2, with w of either sign; MMD^2 for weights that sum to 1.

    Exact within the span of the landmarks; the rest is estimated from rows drawn by |w|.

    Args:
        problem: whose pool the rows e_j are.
        basis: the landmarks.
        moment: sum_j w_j <phi~(e_j), phi~(landmark)>.
        w: coefficients of all rows.
        key: where the sample starts.
    """
    seen = jax.scipy.linalg.solve_triangular(
        basis.factor, jnp.asarray(moment, basis.factor.dtype), lower=True
    )
    inside = float(jnp.sum(seen * seen))
    support = np.flatnonzero(w)
    if len(support) <= _SAMPLE:
        rest = np.asarray(missed(basis, problem.take(support)), np.float64)
        return inside + float(w[support] @ rest @ w[support])
    size = np.abs(w[support])
    total = float(size.sum())
    points = (np.arange(_SAMPLE) + float(jax.random.uniform(key))) / _SAMPLE * total
    drawn = np.minimum(np.searchsorted(np.cumsum(size), points, side="right"), len(support) - 1)
    drawn, times = np.unique(drawn, return_counts=True)
    rest = np.asarray(missed(basis, problem.take(support[drawn])), np.float64)
    own, signed = np.diagonal(rest), times * np.sign(w[support[drawn]])
    pairs = (signed @ rest @ signed - times**2 @ own) / (_SAMPLE**2 - times @ times)
    apart = pairs * (total**2 - float(size @ size))
    return inside + total * float((times * size[drawn]) @ own) / _SAMPLE + float(apart)
