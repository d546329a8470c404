"""Which rows to show the LLM: greedy selection by posterior variance (SynAlign, section 3.1)."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from .checks import InputError, check_rows
from .kernels import Kernel, diagonal, gram, median_length_scale, rbf, rbf_length_scale, squared_distances
from .pca import principal_components
from .posterior import PosteriorState, observe, posterior_init, posterior_update, resolution

ACQUISITIONS = ("max_variance", "integrated_variance")
COMPLETE = "complete"
ROWS_EXHAUSTED = "rows exhausted"
VARIANCE_EXHAUSTED = "variance exhausted"

# Rows that integrated variance sums over; a pool with more is represented by a sample of this size.
_REFERENCES = 2_048
# Rows observed elsewhere enter in blocks of this many.
_OUTSIDE_BLOCK = 64


class Exploration(NamedTuple):
    """What `explore` chose, one entry a round.

    Attributes:
        centers: (rounds,) index of the row picked; no row is picked twice.
        clusters: (rounds, neighbors + 1) the centre and then its nearest rows, nearest first. A row may be
            a neighbour in several rounds.
        variance: (rounds,) posterior variance of the centre when it was picked.
        labels: the label of every round, or None where `explore` was given none.
        status: "complete"; "rows exhausted" when every row had been observed before `rounds` were done;
            "variance exhausted" when the rows left were all copies of observed rows, or so near to them
            that rounding hides the difference. With labels, the first label that fell short decides.
        acquisition: the rule that was used.
        project: the number of principal components that were used, None for the space as given.
    """

    centers: np.ndarray
    clusters: np.ndarray
    variance: np.ndarray
    labels: list | None
    status: str
    acquisition: str
    project: int | None


def explore(
    embeddings: Any,
    *,
    rounds: int,
    neighbors: int = 3,
    key: Key[Array, ""],
    kernel: Kernel | None = None,
    acquisition: str = "auto",
    project: int | str | None = "auto",
    labels: Any = None,
    observed: Any = None,
    noise: float = 1e-6,
) -> Exploration:
    """Choose `rounds` demonstration clusters that together leave as little as possible unknown of the pool.

    Every round picks the best unobserved row by posterior variance; it and its nearest rows form the cluster
    and become observed (SynAlign, section 3.1). Ties are broken at random by `key`, above all that of the
    first round, where nothing is known yet and every row of a stationary kernel is as good as another.

    Args:
        embeddings: (n, d) floating rows, NumPy or JAX.
        rounds: clusters to choose; with `labels`, clusters for each label.
        neighbors: rows shown beside each centre; 0 gives clusters of the centre alone.
        key: from `jax.random.key`.
        kernel: any tinygp kernel; None means RBF with a length scale from the data.
        acquisition: "max_variance", the paper's rule, picks the row that is itself least known: it goes to
            the pool's rim, outliers first. "integrated_variance" picks the row that lowers the pool's total
            variance most: it goes where rows are many and unknown. "auto" is the measured winner.
        project: choose in this many principal components; None is the space as given; "auto" the measured
            winner for the acquisition.
        labels: (n,) one label a row: every label is explored as a pool of its own, so that each cluster
            holds one label only.
        observed: (o, d) embeddings of rows observed elsewhere, such as rows generated so far: the rounds
            then look where neither these nor the chosen rows are. With labels they count for each label.
        noise: observation noise sigma_n^2 in the units of the kernel's variance.

    Raises:
        InputError: bad rows; fewer rows (of one label) than one cluster needs; a kernel whose k(x, x) is not
            positive; all rows identical while the length scale is to come from them; an unknown setting.
    """
    rounds, neighbors = int(rounds), int(neighbors)
    if rounds < 1 or neighbors < 0:
        raise InputError(f"rounds: {rounds}, neighbors: {neighbors}; at least 1 and 0 are needed")
    if noise <= 0:
        raise InputError(f"noise: {noise}; it must be positive")
    acquisition = _acquisition(acquisition)
    check_rows("embeddings", embeddings, min_rows=neighbors + 1)
    if observed is not None:
        check_rows("observed", observed, width=embeddings.shape[1])
    pick = functools.partial(
        _explore_pool,
        rounds=rounds,
        neighbors=neighbors,
        kernel=kernel,
        acquisition=acquisition,
        project=_dimensions(project, acquisition, embeddings.shape[1]),
        noise=noise,
    )
    embeddings = np.asarray(embeddings)
    if labels is None:
        return pick(embeddings, observed, key=key)

    groups = _groups(labels, embeddings.shape[0])
    for label, rows in groups.items():
        if len(rows) <= neighbors:
            raise InputError(
                f"labels: {label!r} has {len(rows)} row(s), one cluster needs {neighbors + 1};"
                " ask for fewer neighbors or leave that label out"
            )
    parts = []
    for i, (label, rows) in enumerate(groups.items()):
        part = pick(embeddings[rows], observed, key=jax.random.fold_in(key, i))
        parts.append(
            part._replace(
                centers=rows[part.centers],
                clusters=rows[part.clusters],
                labels=[label] * len(part.centers),
            )
        )
    return parts[0]._replace(
        centers=np.concatenate([part.centers for part in parts]),
        clusters=np.concatenate([part.clusters for part in parts]),
        variance=np.concatenate([part.variance for part in parts]),
        labels=[label for part in parts for label in part.labels],
        status=next((part.status for part in parts if part.status != COMPLETE), COMPLETE),
    )


def _explore_pool(
    embeddings: np.ndarray,
    observed: Any,
    *,
    key: Key[Array, ""],
    rounds: int,
    neighbors: int,
    kernel: Kernel | None,
    acquisition: str,
    project: int | None,
    noise: float,
) -> Exploration:
    """`explore` for one pool with every setting resolved."""
    n = embeddings.shape[0]
    outside = 0 if observed is None else observed.shape[0]
    points = embeddings if observed is None else np.concatenate([embeddings, np.asarray(observed)])
    if project is not None:
        points = principal_components(embeddings, project).project(points)
    if kernel is None:
        kernel = rbf(_length_scale(points[:n], acquisition))
    if rbf_length_scale(kernel) is not None:
        # Distances do not change, and rows near the origin lose nothing in the expansion of the square.
        points = points - points[:n].mean(axis=0)
    rows = _size_class(n + outside)
    points = jnp.asarray(
        np.concatenate([points, np.zeros((rows - n - outside, points.shape[1]), points.dtype)])
    )
    _check_kernel(kernel, points[:n])

    key_ties, key_references = jax.random.split(key)
    if acquisition == "integrated_variance":
        references = jax.random.permutation(key_references, n)[:_REFERENCES]
    else:
        references = None
    cluster = neighbors + 1
    rounds_possible = min(rounds, n)
    # A round that finds every row of its cluster observed but the centre still fills a whole block.
    needed = rounds_possible * cluster + _blocks(outside) * _OUTSIDE_BLOCK
    picks = _select(
        points,
        kernel,
        jnp.asarray(noise, points.dtype),
        jnp.asarray(n),
        jnp.asarray(outside),
        jnp.asarray(rounds_possible),
        jax.random.uniform(key_ties, (rows,)),
        references,
        _capacity_class(needed),
        cluster,
    )
    done = int(picks.done)
    status = COMPLETE
    if done < rounds:
        status = VARIANCE_EXHAUSTED if bool(picks.rows_left) else ROWS_EXHAUSTED
    return Exploration(
        centers=np.asarray(picks.clusters[:done, 0]),
        clusters=np.asarray(picks.clusters[:done]),
        variance=np.asarray(picks.variance[:done]),
        labels=None,
        status=status,
        acquisition=acquisition,
        project=project,
    )


class _Picks(NamedTuple):
    """The loop's output, with room for more rounds than were done."""

    clusters: Int[Array, "room cluster"]
    variance: Float[Array, " room"]
    done: Int[Array, ""]
    rows_left: Bool[Array, ""]


@eqx.filter_jit
def _select(
    points: Float[Array, "n d"],
    kernel: Kernel,
    noise: Float[Array, ""],
    pool: Int[Array, ""],
    outside: Int[Array, ""],
    rounds: Int[Array, ""],
    priority: Float[Array, " n"],
    references: Int[Array, " r"] | None,
    capacity: int,
    cluster: int,
) -> _Picks:
    """The selection loop. The first `pool` points may be picked, the next `outside` are observed already."""
    n = points.shape[0]
    in_pool = jnp.arange(n) < pool
    state = posterior_init(points, kernel, capacity=capacity)._replace(noise=noise)
    floor = resolution(points.dtype, state.variance)

    def observe_outside(i: Int[Array, ""], state: PosteriorState) -> PosteriorState:
        # The last block runs past the end: repeating its last row changes nothing.
        rows = jnp.minimum(i * _OUTSIDE_BLOCK + jnp.arange(_OUTSIDE_BLOCK), outside - 1)
        return posterior_update(state, pool + rows)

    state = jax.lax.fori_loop(0, _blocks(outside), observe_outside, state)
    cross = None if references is None else _posterior_cross(state, references)

    def eligible(state: PosteriorState) -> Bool[Array, " n"]:
        return in_pool & ~state.observed & (state.variance > floor)

    def more(carry: tuple) -> Bool[Array, ""]:
        state, _, picks = carry
        return (picks.done < rounds) & jnp.any(eligible(state))

    def one_round(carry: tuple) -> tuple:
        state, cross, picks = carry
        score = _score(state, cross)
        center = _argmax(jnp.where(eligible(state), score, -1.0), priority)
        rows = _nearest(state.points, center, in_pool, cluster)
        after = observe(state, rows, gram(kernel, state.points, state.points[rows]))
        if cross is not None:
            added = jax.lax.dynamic_slice_in_dim(after.factor, state.count, cluster)
            cross = cross - jnp.matmul(added.T, added[:, references], precision=jax.lax.Precision.HIGHEST)
        picks = picks._replace(
            clusters=picks.clusters.at[picks.done].set(rows),
            variance=picks.variance.at[picks.done].set(state.variance[center]),
            done=picks.done + 1,
        )
        return after, cross, picks

    room = capacity // cluster
    picks = _Picks(
        clusters=jnp.zeros((room, cluster), jnp.int32),
        variance=jnp.zeros(room, points.dtype),
        done=jnp.zeros((), jnp.int32),
        rows_left=jnp.ones((), bool),
    )
    state, _, picks = jax.lax.while_loop(more, one_round, (state, cross, picks))
    return picks._replace(rows_left=jnp.any(in_pool & ~state.observed))


def _posterior_cross(state: PosteriorState, references: Int[Array, " r"]) -> Float[Array, "n r"]:
    """Posterior covariance of every point with the reference rows."""
    prior = gram(state.kernel, state.points, state.points[references])
    factor = state.factor
    return prior - jnp.matmul(factor.T, factor[:, references], precision=jax.lax.Precision.HIGHEST)


def _score(state: PosteriorState, cross: Float[Array, "n r"] | None) -> Float[Array, " n"]:
    """The variance, or the total by which observing a row lowers the variance of the reference rows."""
    if cross is None:
        return state.variance
    return jnp.sum(cross * cross, axis=1) / (state.variance + state.noise)


def _argmax(score: Float[Array, " n"], priority: Float[Array, " n"]) -> Int[Array, ""]:
    """The row with the largest score; of equals, the one with the largest priority."""
    return jnp.argmax(jnp.where(score >= jnp.max(score), priority, -1.0)).astype(jnp.int32)


def _nearest(
    points: Float[Array, "n d"], center: Int[Array, ""], in_pool: Bool[Array, " n"], count: int
) -> Int[Array, " count"]:
    """`center` and its nearest rows of the pool in Euclidean distance, `count` in all."""
    far = jnp.asarray(jnp.inf, points.dtype)
    distance = jnp.where(in_pool, squared_distances(points, points[center][None])[:, 0], far)

    def take(i: Int[Array, ""], carry: tuple) -> tuple:
        rows, distance = carry
        row = jnp.argmin(distance).astype(jnp.int32)
        return rows.at[i].set(row), distance.at[row].set(far)

    rows = jnp.zeros(count, jnp.int32)
    # A sort of the whole pool would cost more than `count` passes over it.
    return jax.lax.fori_loop(0, count, take, (rows, distance.at[center].set(-1.0)))[0]


def _blocks(outside: Any) -> Any:
    return (outside + _OUTSIDE_BLOCK - 1) // _OUTSIDE_BLOCK


def _size_class(rows: int) -> int:
    """Rows to pad a pool to, so that pools of many sizes (labels, above all) share a compiled loop."""
    if rows <= 1024:
        return max(64, 1 << (rows - 1).bit_length())
    return -(-rows // 1024) * 1024


def _capacity_class(rows: int) -> int:
    """Rows of the factor, in steps of eight: a growing number of rounds compiles the loop twice at most."""
    capacity = 512
    while capacity < rows:
        capacity *= 8
    return capacity


def _acquisition(name: str) -> str:
    if name == "auto":
        return "integrated_variance"
    if name not in ACQUISITIONS:
        raise InputError(f"acquisition: {name!r}; it is one of {', '.join(ACQUISITIONS)}, auto")
    return name


def _dimensions(project: int | str | None, acquisition: str, width: int) -> int | None:
    if project == "auto":
        return None if acquisition == "integrated_variance" else min(10, width)
    if project is None:
        return None
    if isinstance(project, str) or not 1 <= int(project) <= width:
        raise InputError(f"project: {project!r}; it is None, auto, or a number from 1 to {width}")
    return int(project)


def _length_scale(points: np.ndarray, acquisition: str) -> float:
    if len(points) == 1:
        return 1.0  # one row: any length scale picks it
    return median_length_scale(points) * (0.5 if acquisition == "integrated_variance" else 1.0)


def _groups(labels: Any, rows: int) -> dict[Any, np.ndarray]:
    """Row indices of every label, in the order of first appearance."""
    if len(labels) != rows:
        raise InputError(f"labels: {len(labels)} for {rows} row(s); give one a row")
    groups: dict[Any, list[int]] = {}
    for row, label in enumerate(np.asarray(labels).tolist()):
        groups.setdefault(label, []).append(row)
    return {label: np.asarray(members) for label, members in groups.items()}


def _check_kernel(kernel: Kernel, points: Float[Array, "n d"]) -> None:
    prior = np.asarray(diagonal(kernel, points))
    bad = np.flatnonzero(~(np.isfinite(prior) & (prior > 0)))
    if bad.size:
        raise InputError(
            f"kernel: k(x, x) is {prior[bad[0]]} at row {bad[0]}; a covariance is positive there, so use"
            " another kernel (or length scale)"
        )
