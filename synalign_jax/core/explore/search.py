"""What the selection loop is given, and where it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from synalign_jax.core.kernels import Kernel

# Rows observed elsewhere enter in blocks of this many.
OUTSIDE_BLOCK = 64
# A factor of fewer values is read so fast that a loop more is not worth compiling.
_GROWN = 2_000_000
# Rows at most that are compared to decide a round.
TOGETHER = 256
# The share of its prior variance below which a row counts as known: what float32 could still resolve, in
# every precision, so that no other is picked by a machine that computes in another.
_KNOWN = 2.0**-18


def known_below(scale: Any) -> Any:
    """The variance below which a row of prior variance `scale` is neither picked nor observed."""
    return _KNOWN * scale


def rounding(dtype: Any, scale: Any) -> Any:
    """How far the loop's variances may be off, for prior variance `scale`.

    Observing rows of which little is unknown multiplies rounding by up to prior over noise, so float64 has
    its nine digits, and float32, where nothing better computes, only hopes.
    """
    return (1e-9 if np.dtype(dtype) == np.float64 else _KNOWN) * scale


def rows_needed(rounds: int, cluster: int, outside: int) -> int:
    """Rows of the factor that `rounds` clusters and `outside` rows observed elsewhere fill."""
    # A cluster fills a whole block even where some of its rows were observed before.
    return rounds * cluster + outside_blocks(outside) * OUTSIDE_BLOCK


def capacities(rows: int, width: int, outside: int) -> tuple[int, ...]:
    """How many rows the factor has room for, at first and after growing, so that `rows` fit in the end.

    The last is in steps of eight: a growing number of rounds compiles the loop twice at most.

    Args:
        rows: from `rows_needed`.
        width: columns of the factor.
        outside: rows observed elsewhere; they are observed first, so the factor has room for them at once.
    """
    last = 512
    while last < rows:
        last *= 8
    sizes = [last]
    first = max(64, outside_blocks(outside) * OUTSIDE_BLOCK)
    while sizes[0] * width > _GROWN and sizes[0] >= 2 * first:
        sizes.insert(0, sizes[0] // 2)
    return tuple(sizes)


class References(NamedTuple):
    """The rows whose variance the integrated acquisitions lower, and how much each counts."""

    rows: Int[Array, " r"]
    weights: Float[Array, " r"]


class Problem(NamedTuple):
    """What stays the same from the first round to the last.

    Attributes:
        points: the pool's rows, then rows observed elsewhere, then padding; for an RBF kernel centred and in
            units of its length scale.
        kernel: the covariance function of these points.
        noise: observation noise.
        pool: how many points may be picked.
        outside: how many points after those are observed from the start.
        rounds: clusters wanted; the shapes do not depend on it.
        priority: decides between rows of equal score.
        references: the rows whose variance is to fall; None picks the row of largest variance.
        prior: covariances of the points with the references; None without references.
        first: (n,) sum_r weights_r k(z, z_r)^2; None without references.
    """

    points: Float[Array, "n d"]
    kernel: Kernel
    noise: Float[Array, ""]
    pool: Int[Array, ""]
    outside: Int[Array, ""]
    rounds: Int[Array, ""]
    priority: Float[Array, " n"]
    references: References | None
    prior: Float[Array, "n r"] | None = None
    first: Float[Array, " n"] | None = None


class Choice(NamedTuple):
    """What the next round is to observe.

    Attributes:
        rows: the cluster, its centre first.
        variance: of the centre.
        take: whether to observe the rows; if not, the next choice is made with nothing more observed.
        spent: rows that turned out to have no variance left; as many as the points where none did.
        certain: whether every row was chosen by more than rounding.
        left: whether a row could be chosen at all.
        unseen: whether a row of the pool is unobserved.
        best: the row that is surely the best or near to it.
        tied: the rows among which rounding hides the best.
    """

    rows: Int[Array, " cluster"]
    variance: Float[Array, ""]
    take: Bool[Array, ""]
    spent: Int[Array, " spent"]
    certain: Bool[Array, ""]
    left: Bool[Array, ""]
    unseen: Bool[Array, ""]
    best: Int[Array, ""]
    tied: Bool[Array, " n"]


class Search(NamedTuple):
    """Where the selection stands: `done` rounds of `clusters` and `variance` are filled.

    The first four are those of `PosteriorState`, gain is None without references.
    """

    factor: Float[Array, "n capacity"]
    unknown: Float[Array, " n"]
    observed: Bool[Array, " n"]
    count: Int[Array, ""]
    gain: Gain | None
    choice: Choice
    clusters: Int[Array, "room cluster"]
    variance: Float[Array, " room"]
    done: Int[Array, ""]


class Gain(NamedTuple):
    """What observing a row would take off the reference rows' total variance, times that row's variance.

    Attributes:
        total: (n,) sum_r weights_r c(z, z_r)^2, with c the posterior covariance.
        factor: (r, capacity) the factor's rows at the references z_r.
    """

    total: Float[Array, " n"]
    factor: Float[Array, "r capacity"]


def spread(error: Any, variance: Any, noise: Any, scale: Any, score: Any = None, first: Any = None) -> Any:
    """How far a score may be off, the variances being off by `error`.

    Args:
        error: of the variances.
        variance: of the rows.
        noise: observation noise.
        scale: prior variance of the rows.
        score: total / (variance + noise) where the score is that, None where it is the variance.
        first: `Problem.first`, with `score`.
    """
    return error if score is None else error * (first / scale + score) / (variance + noise)


def distance_error(squares: Any) -> Any:
    """How far a squared distance may be off that was expanded into a product, for |x|^2 + |y|^2."""
    return 16.0 * float(np.finfo(squares.dtype).eps) * squares


def outside_blocks(outside: Any) -> Any:
    return (outside + OUTSIDE_BLOCK - 1) // OUTSIDE_BLOCK
