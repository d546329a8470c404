"""The compiled selection loop over a pool whose Cholesky factor fits in memory."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from synalign_jax.core.kernels import diagonal, gram, half_squares, rbf_length_scale, unit_rbf
from synalign_jax.core.sharding import replicated, rows_sharded

from .posterior import PosteriorState, factor_product, observe, posterior_init
from .search import (
    OUTSIDE_BLOCK,
    TOGETHER,
    Choice,
    Gain,
    Problem,
    References,
    Search,
    distance_error,
    known_below,
    outside_blocks,
    rounding,
    spread,
)

_PRECISION = jax.lax.Precision.HIGHEST
# Rows of which the least is kept while the least of all are looked for.
_STRIP = 128


@eqx.filter_jit
def begin(
    problem: Problem, capacity: int, room: int, cluster: int, some_outside: bool, mesh: Mesh | None
) -> tuple[Problem, Search]:
    """The prior, with the rows observed elsewhere taken in, and an empty choice.

    Args:
        problem: without `prior` and `first`.
        capacity: rows of the factor, the first of `capacities`.
        room: clusters to have room for.
        cluster: rows of a cluster.
        some_outside: whether rows were observed elsewhere.
        mesh: the devices over which the points are split, None for one device.
    """
    points, references = problem.points, problem.references
    n = points.shape[0]
    state = posterior_init(points, problem.kernel, capacity=capacity)._replace(noise=problem.noise)
    state = state._replace(factor=_split(state.factor, mesh))
    floor = known_below(diagonal(problem.kernel, points))
    gain = None
    if references is not None:
        prior = gram(problem.kernel, points, points[references.rows])
        first = jnp.matmul(prior * prior, references.weights, precision=_PRECISION)
        problem = problem._replace(prior=prior, first=first)
        gain = Gain(first, state.factor[references.rows])

    def observe_outside(i: Int[Array, ""], carry: tuple) -> tuple:
        # The last block runs past the end: repeating its last row changes nothing.
        rows = jnp.minimum(i * OUTSIDE_BLOCK + jnp.arange(OUTSIDE_BLOCK), problem.outside - 1)
        rows = problem.pool + rows
        state, gain = carry
        return _observe(problem, state, gain, rows, gram(problem.kernel, points, points[rows]), floor)

    if some_outside:
        state, gain = jax.lax.fori_loop(0, outside_blocks(problem.outside), observe_outside, (state, gain))
    nothing = Choice(
        rows=jnp.zeros(cluster, jnp.int32),
        variance=jnp.zeros((), points.dtype),
        take=jnp.zeros((), bool),
        spent=jnp.full(TOGETHER, n, jnp.int32),
        certain=jnp.ones((), bool),
        left=jnp.ones((), bool),
        unseen=jnp.ones((), bool),
        best=jnp.zeros((), jnp.int32),
        tied=jnp.zeros(n, bool),
    )
    return problem, Search(
        factor=_split(state.factor, mesh),
        unknown=state.variance,
        observed=state.observed,
        count=state.count,
        gain=gain,
        choice=nothing if mesh is None else jax.lax.with_sharding_constraint(nothing, replicated(mesh)),
        clusters=jnp.zeros((room, cluster), jnp.int32),
        variance=jnp.zeros(room, points.dtype),
        done=jnp.zeros((), jnp.int32),
    )


@eqx.filter_jit(donate="all-except-first")
def advance(problem: Problem, search: Search, mesh: Mesh | None) -> Search:
    """Rounds until all are done, nothing is left to learn, the factor is full, or a choice is not certain."""
    points, kernel, noise = problem.points, problem.kernel, problem.noise
    n, cluster = points.shape[0], search.choice.rows.shape[0]
    in_pool = jnp.arange(n) < problem.pool
    scale = diagonal(kernel, points)
    floor, error = known_below(scale), rounding(points.dtype, scale)
    halves, unit = half_squares(points), rbf_length_scale(kernel) is not None

    def covariances(rows: Int[Array, " b"]) -> Float[Array, "n b"]:
        if not unit:
            return gram(kernel, points, points[rows])
        # The squares are computed once for all rounds, not once a round as `gram` must.
        return unit_rbf(points, points[rows], halves, halves[rows])

    def choose(state: PosteriorState, gain: Gain | None, spent: Int[Array, " spent"]) -> Choice:
        # Rows a little below the floor too: whether they are is decided where it matters.
        live = in_pool & ~state.observed & (state.variance > floor - 0.5 * error)
        if gain is None:
            score, off = state.variance, spread(error, state.variance, noise, scale)
        else:
            score = gain.total / (state.variance + noise)
            off = spread(error, state.variance, noise, scale, score, problem.first)
        surely = jnp.where(live, score - off, -jnp.inf)
        tied = live & (score + off >= jnp.max(surely))
        center = _first(tied, problem.priority)
        rows, apart = center[None], True
        if cluster > 1:
            squares = 2.0 * (
                halves + halves[center] - jnp.matmul(points, points[center], precision=_PRECISION)
            )
            near = jnp.where(in_pool, squares, jnp.inf).at[center].set(-jnp.inf)
            rows = _nearest(near, cluster + 1)
            gaps = jnp.diff(near[rows])
            apart = jnp.all(gaps > distance_error(2.0 * (halves[center] + halves[rows[1:]])))
        alone = jnp.sum(tied) == 1
        if gain is None and unit:
            # Before any observation a stationary kernel knows all rows equally little, without rounding.
            alone |= state.count == 0
        return Choice(
            rows=rows[:cluster],
            variance=state.variance[center],
            take=jnp.ones((), bool),
            spent=jnp.full_like(spent, n),
            certain=alone & apart & (state.variance[center] > floor[center] + error[center]),
            left=jnp.any(live),
            unseen=jnp.any(in_pool & ~state.observed),
            best=_nearest(-surely, 1)[0],
            tied=tied,
        )

    def more(search: Search) -> Bool[Array, ""]:
        room = search.count + cluster <= search.factor.shape[1]
        choice = search.choice
        return room & (search.done < problem.rounds) & choice.left & choice.certain

    def one_round(search: Search) -> Search:
        choice = search.choice
        variance = search.unknown.at[choice.spent].set(0.0, mode="drop")
        state = PosteriorState(points, kernel, noise, search.factor, variance, search.observed, search.count)
        after, gain = _observe(
            problem, state, search.gain, choice.rows, covariances(choice.rows), floor, choice.take
        )
        return Search(
            factor=after.factor,
            unknown=after.variance,
            observed=after.observed,
            count=after.count,
            gain=gain,
            choice=choose(after, gain, choice.spent),
            clusters=search.clusters.at[search.done].set(choice.rows),
            variance=search.variance.at[search.done].set(choice.variance),
            done=search.done + choice.take,
        )

    search = jax.lax.while_loop(more, one_round, search)
    if mesh is None:
        return search
    small = {name: getattr(search, name) for name in ("choice", "clusters", "variance", "done", "count")}
    small = jax.lax.with_sharding_constraint(small, replicated(mesh))
    return search._replace(factor=_split(search.factor, mesh), **small)


@eqx.filter_jit(donate="all")
def grown(search: Search, capacity: int, mesh: Mesh | None) -> Search:
    """With room for `capacity` rows of the factor: a round reads all of it, so it starts small."""
    added = ((0, 0), (0, capacity - search.factor.shape[1]))
    gain = search.gain
    if gain is not None:
        gain = gain._replace(factor=jnp.pad(gain.factor, added))
    return search._replace(factor=_split(jnp.pad(search.factor, added), mesh), gain=gain)


def _observe(
    problem: Problem,
    state: PosteriorState,
    gain: Gain | None,
    rows: Int[Array, " b"],
    with_rows: Float[Array, "n b"],
    floor: Float[Array, " n"],
    take: Bool[Array, ""] | bool = True,
) -> tuple[PosteriorState, Gain | None]:
    after = observe(state, rows, with_rows, take, floor)
    if gain is not None and problem.references is not None and problem.prior is not None:
        start = state.count
        gain = _update_gain(gain, after, start, rows.shape[0], problem.references, problem.prior)
    return after, gain


def _split(factor: Float[Array, "n capacity"], mesh: Mesh | None) -> Float[Array, "n capacity"]:
    return factor if mesh is None else jax.lax.with_sharding_constraint(factor, rows_sharded(mesh))


def _update_gain(
    gain: Gain,
    after: PosteriorState,
    start: Int[Array, ""],
    block: int,
    references: References,
    prior: Float[Array, "n r"],
) -> Gain:
    """With the `block` factor columns A from `start`, c' = c - A A_R^T; squared, so c is never stored."""
    added = jax.lax.dynamic_slice_in_dim(after.factor, start, block, axis=1)
    added_references = added[references.rows]
    weighted = added_references * references.weights[:, None]
    # c weighted, with c from before: the columns of gain.factor that A_R will fill are still zero.
    explained = factor_product(after, jnp.matmul(gain.factor.T, weighted, precision=_PRECISION))
    linear = jnp.matmul(prior, weighted, precision=_PRECISION) - explained
    square = jnp.matmul(
        added, jnp.matmul(weighted.T, added_references, precision=_PRECISION), precision=_PRECISION
    )
    return Gain(
        total=jnp.maximum(gain.total + jnp.sum(added * (square - 2.0 * linear), axis=1), 0.0),
        factor=jax.lax.dynamic_update_slice_in_dim(gain.factor, added_references, start, axis=1),
    )


def _first(tied: Bool[Array, " n"], priority: Float[Array, " n"]) -> Int[Array, ""]:
    """Of the tied rows the one with the largest priority."""
    return _nearest(-jnp.where(tied, priority, -1.0), 1)[0]


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
