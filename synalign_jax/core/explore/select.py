"""The compiled selection loop over a pool whose Cholesky factor fits in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from synalign_jax.core.kernels import Kernel, gram, rbf_length_scale
from synalign_jax.core.sharding import columns_sharded, replicated

from .posterior import PosteriorState, factor_product, observe, posterior_init, resolution

_PRECISION = jax.lax.Precision.HIGHEST
# Rows observed elsewhere enter in blocks of this many.
_OUTSIDE_BLOCK = 64
# A factor of fewer values is read so fast that a loop more is not worth compiling.
_GROWN = 2_000_000
# Rows of which the least is kept while the least of all are looked for.
_STRIP = 128


def rows_needed(rounds: int, cluster: int, outside: int) -> int:
    """Rows of the factor that `rounds` clusters and `outside` rows observed elsewhere fill."""
    # A cluster fills a whole block even where some of its rows were observed before.
    return rounds * cluster + _blocks(outside) * _OUTSIDE_BLOCK


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
    first = max(64, _blocks(outside) * _OUTSIDE_BLOCK)
    while sizes[0] * width > _GROWN and sizes[0] >= 2 * first:
        sizes.insert(0, sizes[0] // 2)
    return tuple(sizes)


class Picks(NamedTuple):
    """The loop's output, with room for more rounds than were done."""

    clusters: Int[Array, "room cluster"]
    variance: Float[Array, " room"]
    done: Int[Array, ""]
    rows_left: Bool[Array, ""]


class References(NamedTuple):
    """The rows whose variance the integrated acquisitions lower, and how much each counts."""

    rows: Int[Array, " r"]
    weights: Float[Array, " r"]


@eqx.filter_jit
def select(
    points: Float[Array, "n d"],
    kernel: Kernel,
    noise: Float[Array, ""],
    pool: Int[Array, ""],
    outside: Int[Array, ""],
    rounds: Int[Array, ""],
    priority: Float[Array, " n"],
    references: References | None,
    capacities: tuple[int, ...],
    cluster: int,
    mesh: Mesh | None,
) -> Picks:
    """Pick `rounds` clusters, or fewer when nothing is left to learn.

    Args:
        points: the pool's rows, then rows observed elsewhere, then padding.
        kernel: the covariance function.
        noise: observation noise.
        pool: how many points may be picked.
        outside: how many points after those are observed from the start.
        rounds: clusters wanted; the shapes do not depend on it.
        priority: decides between rows of equal score.
        references: the rows whose variance is to fall; None picks the row of largest variance.
        capacities: rows of the factor from the start and after each time it fills up, from `capacities`.
        cluster: rows of a cluster.
        mesh: the devices over which `points` are split, None for one device.
    """
    n = points.shape[0]
    in_pool = jnp.arange(n) < pool
    state = posterior_init(points, kernel, capacity=capacities[0])._replace(noise=noise)

    def split(factor: Float[Array, "capacity n"]) -> Float[Array, "capacity n"]:
        return factor if mesh is None else jax.lax.with_sharding_constraint(factor, columns_sharded(mesh))

    state = state._replace(factor=split(state.factor))
    floor = resolution(points.dtype, state.variance)
    prior = gain = None
    if references is not None:
        prior = gram(kernel, points[references.rows], points)
        total = jnp.matmul(references.weights, prior * prior, precision=_PRECISION)
        gain = _Gain(total, state.factor[:, references.rows])

    squares, length_scale = jnp.sum(points * points, axis=1), rbf_length_scale(kernel)

    def distances(rows: Int[Array, " b"]) -> Float[Array, "n b"]:
        product = jnp.matmul(points, points[rows].T, precision=_PRECISION)
        return jnp.maximum(squares[:, None] + squares[rows] - 2.0 * product, 0.0)

    def covariances(rows: Int[Array, " b"], first: Float[Array, "n 1"] | None = None) -> Float[Array, "n b"]:
        """With the points `rows`; `first` holds the distances from rows[0] where they are known."""
        if length_scale is None:
            return gram(kernel, points, points[rows])
        # The squares are computed once for all rounds, not once a round as `gram` must.
        squared = distances(rows) if first is None else jnp.hstack([first, distances(rows[1:])])
        return jnp.exp(squared * (-0.5 / jnp.square(length_scale)).astype(points.dtype))

    def advance(
        state: PosteriorState, gain: _Gain | None, rows: Int[Array, " b"], with_rows: Float[Array, "n b"]
    ) -> tuple:
        after = observe(state, rows, with_rows)
        if gain is not None and references is not None and prior is not None:
            gain = _update_gain(gain, after, rows.shape[0], references, prior)
        return after, gain

    def observe_outside(i: Int[Array, ""], carry: tuple) -> tuple:
        # The last block runs past the end: repeating its last row changes nothing.
        rows = jnp.minimum(i * _OUTSIDE_BLOCK + jnp.arange(_OUTSIDE_BLOCK), outside - 1)
        state, gain = carry
        return advance(state, gain, pool + rows, covariances(pool + rows))

    state, gain = jax.lax.fori_loop(0, _blocks(outside), observe_outside, (state, gain))

    def eligible(state: PosteriorState) -> Bool[Array, " n"]:
        return in_pool & ~state.observed & (state.variance > floor)

    def more(carry: tuple) -> Bool[Array, ""]:
        state, _, picks = carry
        room = state.count + cluster <= state.factor.shape[0]
        return room & (picks.done < rounds) & jnp.any(eligible(state))

    def one_round(carry: tuple) -> tuple:
        state, gain, picks = carry
        score = state.variance if gain is None else gain.total / (state.variance + noise)
        center = _argmax(jnp.where(eligible(state), score, -1.0), priority)
        distance = distances(center[None])
        rows = _nearest(jnp.where(in_pool, distance[:, 0], jnp.inf).at[center].set(-1.0), cluster)
        after, gain = advance(state, gain, rows, covariances(rows, distance))
        picks = picks._replace(
            clusters=picks.clusters.at[picks.done].set(rows),
            variance=picks.variance.at[picks.done].set(state.variance[center]),
            done=picks.done + 1,
        )
        return after, gain, picks

    room = capacities[-1] // cluster
    picks = Picks(
        clusters=jnp.zeros((room, cluster), jnp.int32),
        variance=jnp.zeros(room, points.dtype),
        done=jnp.zeros((), jnp.int32),
        rows_left=jnp.ones((), bool),
    )
    for capacity in capacities:
        # A round reads the whole factor: one that grows has fewer rows to read that are empty yet.
        added = capacity - state.factor.shape[0]
        state = state._replace(factor=split(jnp.pad(state.factor, ((0, added), (0, 0)))))
        if gain is not None:
            gain = gain._replace(factor=jnp.pad(gain.factor, ((0, added), (0, 0))))
        state, gain, picks = jax.lax.while_loop(more, one_round, (state, gain, picks))
    picks = picks._replace(rows_left=jnp.any(in_pool & ~state.observed))
    return picks if mesh is None else jax.lax.with_sharding_constraint(picks, replicated(mesh))


class _Gain(NamedTuple):
    """What observing a row would take off the reference rows' total variance, times that row's variance.

    Attributes:
        total: (n,) sum_r weights_r c(z, z_r)^2, with c the posterior covariance.
        factor: (capacity, r) the factor's columns at the references z_r.
    """

    total: Float[Array, " n"]
    factor: Float[Array, "capacity r"]


def _update_gain(
    gain: _Gain,
    after: PosteriorState,
    block: int,
    references: References,
    prior: Float[Array, "r n"],
) -> _Gain:
    """With the `block` newest factor rows A, c' = c - A^T A_R: expanding the square, c is never stored."""
    start = after.count - block
    added = jax.lax.dynamic_slice_in_dim(after.factor, start, block)
    added_references = added[:, references.rows]
    weighted = added_references * references.weights
    # weighted c, with c from before: the rows of gain.factor that A will fill are still zero.
    explained = factor_product(after, jnp.matmul(gain.factor, weighted.T, precision=_PRECISION))
    linear = jnp.matmul(weighted, prior, precision=_PRECISION) - explained
    square = jnp.matmul(
        jnp.matmul(weighted, added_references.T, precision=_PRECISION), added, precision=_PRECISION
    )
    return _Gain(
        total=jnp.maximum(gain.total + jnp.sum(added * (square - 2.0 * linear), axis=0), 0.0),
        factor=jax.lax.dynamic_update_slice_in_dim(gain.factor, added_references, start, axis=0),
    )


def _argmax(score: Float[Array, " n"], priority: Float[Array, " n"]) -> Int[Array, ""]:
    """The row with the largest score; of equals, the one with the largest priority."""
    shared = jnp.where(score >= jnp.max(score), priority, -1.0)
    return _nearest(-shared, 1)[0]


def _nearest(distance: Float[Array, " n"], count: int) -> Int[Array, " count"]:
    """The rows of least distance, least first; of equals the first."""
    # A sort of the whole pool would cost more than this one pass and `count` looks at a strip each.
    size = _STRIP if distance.shape[0] % _STRIP == 0 else distance.shape[0]
    strips = distance.reshape(-1, size)

    def take(i: Int[Array, ""], carry: tuple) -> tuple:
        rows, strips, least = carry
        strip = jnp.argmin(least).astype(jnp.int32)
        place = jnp.argmin(strips[strip]).astype(jnp.int32)
        strips = strips.at[strip, place].set(jnp.inf)
        return rows.at[i].set(strip * size + place), strips, least.at[strip].set(jnp.min(strips[strip]))

    start = (jnp.zeros(count, jnp.int32), strips, jnp.min(strips, axis=1))
    return jax.lax.fori_loop(0, count, take, start)[0]


def _blocks(outside: Any) -> Any:
    return (outside + _OUTSIDE_BLOCK - 1) // _OUTSIDE_BLOCK
