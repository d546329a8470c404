"""Which rows to show the LLM: greedy selection by posterior variance (SynAlign, section 3.1)."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Key

from synalign_jax.core.checks import InputError, as_floats, check_prng_key, check_rows
from synalign_jax.core.kernels import Kernel, diagonal, median_length_scale, rbf, rbf_length_scale
from synalign_jax.core.padding import size_class
from synalign_jax.core.pca import principal_components
from synalign_jax.core.progress import Tell, silent

from .exploration import COMPLETE, Exploration, exploration
from .lazy import LazyExplorer
from .picks import Picks, loop_dtype
from .search import capacities, rows_needed

ACQUISITIONS = ("max_variance", "integrated_variance", "rim_variance")

# Rows that integrated variance sums over; a pool with more is represented by a sample of this size.
_REFERENCES = 2_048
# Principal components in which the rim of a pool is looked for.
_RIM_DIMENSIONS = 2
# Principal components in which maximum variance chooses best; in more it chases outliers.
_MAX_VARIANCE_DIMENSIONS = 5
# Rows whose k(x, x) is evaluated at a time.
_BLOCK = 65_536


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
    memory: int = 4 << 30,
    mesh: Mesh | None = None,
    on_progress: Tell = silent,
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
            variance most: it goes where rows are many and unknown. "rim_variance" is the same with rows
            counted by how far out they lie in the leading principal components: it covers the rim as well
            as the middle. "auto" is "rim_variance", the measured winner.
        project: choose in this many principal components; None is the space as given; "auto" the measured
            winner for the acquisition.
        labels: (n,) one label a row: every label is explored as a pool of its own, so that each cluster
            holds one label only.
        observed: (o, d) embeddings of rows observed elsewhere, such as rows generated so far: the rounds
            then look where neither these nor the chosen rows are. With labels they count for each label.
        noise: observation noise sigma_n^2 in the units of the kernel's variance.
        memory: bytes (a device) for what is kept of every row. A pool that needs more is explored lazily by
            "max_variance", with the same picks, and by the others in a random sample that fits.
        mesh: devices over which the rows are split; None uses one. In several processes all of them call
            this with the same arguments.
        on_progress: called with a piece of the work, how much of it is done and how much there is, as
            ("labels", 3, 8); a pool that is explored lazily tells its rounds.

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
    embeddings, observed = as_floats(embeddings), as_floats(observed)
    check_prng_key(key)
    check_rows("embeddings", embeddings)
    if embeddings.shape[0] <= neighbors:
        raise InputError(
            f"embeddings: {embeddings.shape[0]} row(s), one cluster needs {neighbors + 1};"
            " ask for fewer neighbors"
        )
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
        memory=memory,
        mesh=mesh,
        tell=on_progress,
    )
    embeddings = _host(embeddings)
    observed = None if observed is None else _host(observed)
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
        on_progress("labels", i + 1, len(groups))
    return parts[0]._replace(
        centers=np.concatenate([part.centers for part in parts]),
        clusters=np.concatenate([part.clusters for part in parts]),
        variance=np.concatenate([part.variance for part in parts]),
        labels=[label for part in parts for label in part.labels],
        recomputed=sum(part.recomputed for part in parts),
        status=next((part.status for part in parts if part.status != COMPLETE), COMPLETE),
    )


def _explore_pool(
    embeddings: Any,
    observed: Any,
    *,
    key: Key[Array, ""],
    rounds: int,
    neighbors: int,
    kernel: Kernel | None,
    acquisition: str,
    project: int | None,
    noise: float,
    memory: int,
    mesh: Mesh | None,
    tell: Tell,
) -> Exploration:
    """`explore` for one pool with every setting resolved."""
    n, outside = embeddings.shape[0], 0 if observed is None else observed.shape[0]
    cluster, devices = neighbors + 1, 1 if mesh is None else mesh.size
    sizes = capacities(
        rows_needed(min(rounds, n), cluster, outside), -(-size_class(n + outside) // devices), outside
    )
    capacity = sizes[-1]
    key_ties, key_references, key_sample = jax.random.split(key, 3)

    columns = capacity if acquisition == "max_variance" else capacity + _REFERENCES
    fitting = memory * devices // (columns * loop_dtype().itemsize)
    if acquisition != "max_variance" and n > fitting:
        # Totals over a large random sample differ little from totals over the pool.
        sample = np.sort(np.asarray(jax.random.permutation(key_sample, n))[: max(fitting, cluster)])
        part = _explore_pool(
            embeddings[sample], observed, key=key, rounds=rounds, neighbors=neighbors, kernel=kernel,
            acquisition=acquisition, project=project, noise=noise, memory=columns * n * 8, mesh=mesh,
            tell=tell,
        )  # fmt: skip
        return part._replace(centers=sample[part.centers], clusters=sample[part.clusters])

    points = embeddings
    if project is not None:
        components = principal_components(embeddings, project)
        points = components.project(embeddings)
        observed = None if observed is None else components.project(observed)
    if kernel is None:
        kernel = rbf(_length_scale(points, acquisition))
    _check_kernel(kernel, points)
    priority = np.asarray(jax.random.uniform(key_ties, (n,)))

    if n > fitting:
        explorer = LazyExplorer(
            points,
            kernel,
            neighbors=neighbors,
            priority=priority,
            noise=noise,
            outside=observed,
        )
        picked = []
        while len(picked) < rounds and (pick := explorer.pick()) is not None:
            picked.append(pick)
            tell("rounds", len(picked), rounds)
        return exploration(
            np.array([pick.cluster for pick in picked]).reshape(-1, cluster),
            np.array([pick.variance for pick in picked]),
            rounds, explorer.rows_left, acquisition, project, explorer.recomputed,
        )  # fmt: skip

    references = None
    if acquisition != "max_variance":
        sample = np.asarray(jax.random.permutation(key_references, n))[:_REFERENCES]
        references = (sample, _reference_weights(embeddings, sample, acquisition))
    picks = Picks(
        points, kernel, neighbors=neighbors, priority=priority, noise=noise, outside=observed,
        references=references, mesh=mesh,
    )  # fmt: skip
    clusters, variance = picks.take(min(rounds, n), sizes)
    return exploration(clusters, variance, rounds, picks.rows_left, acquisition, project, len(clusters) * n)


def _acquisition(name: str) -> str:
    if name == "auto":
        return "rim_variance"
    if name not in ACQUISITIONS:
        raise InputError(f"acquisition: {name!r}; it is one of {', '.join(ACQUISITIONS)}, auto")
    return name


def _dimensions(project: int | str | None, acquisition: str, width: int) -> int | None:
    if project == "auto":
        return None if acquisition != "max_variance" else min(_MAX_VARIANCE_DIMENSIONS, width)
    if project is None:
        return None
    if isinstance(project, str) or not 1 <= int(project) <= width:
        raise InputError(f"project: {project!r}; it is None, auto, or a number from 1 to {width}")
    return int(project)


def _length_scale(points: np.ndarray, acquisition: str) -> float:
    if len(points) == 1:
        return 1.0  # one row: any length scale picks it
    return median_length_scale(points) * (1.0 if acquisition == "max_variance" else 0.5)


def _reference_weights(embeddings: Any, rows: np.ndarray, acquisition: str) -> np.ndarray:
    """How much each reference row counts: equally, or by its radius in whitened leading components.

    The rows in the middle keep some weight, or else the best cosine would suffer for the hull.
    """
    if acquisition == "integrated_variance":
        return np.full(len(rows), 1.0 / len(rows), embeddings.dtype)
    components = principal_components(embeddings, _RIM_DIMENSIONS)
    live = components.variance > 1e-12 * components.variance.max()
    scores = components.project(embeddings[rows])[:, live] / np.sqrt(components.variance[live])
    radius = np.linalg.norm(scores, axis=1)
    weights = radius + 0.5 * max(float(radius.mean()), 1e-6)
    return (weights / weights.sum()).astype(embeddings.dtype)


def _groups(labels: Any, rows: int) -> dict[Any, np.ndarray]:
    """Row indices of every label, in the order of first appearance."""
    if len(labels) != rows:
        raise InputError(f"labels: {len(labels)} for {rows} row(s); give one a row")
    groups: dict[Any, list[int]] = {}
    for row, label in enumerate(np.asarray(labels).tolist()):
        groups.setdefault(label, []).append(row)
    return {label: np.asarray(members) for label, members in groups.items()}


def _host(x: Any) -> np.ndarray:
    """A NumPy array in a dtype that NumPy computes in; a memory map stays one."""
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _check_kernel(kernel: Kernel, points: np.ndarray) -> None:
    if rbf_length_scale(kernel) is not None:
        points = points[:1]  # k(x, x) is the same everywhere
    for start in range(0, len(points), _BLOCK):
        prior = np.asarray(diagonal(kernel, jnp.asarray(points[start : start + _BLOCK])))
        bad = np.flatnonzero(~(np.isfinite(prior) & (prior > 0)))
        if bad.size:
            raise InputError(
                f"kernel: k(x, x) is {prior[bad[0]]} at row {start + bad[0]}; a covariance is positive there,"
                " so use another kernel (or length scale)"
            )
