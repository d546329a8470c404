"""Weights to rows: which rows of the pool make a set of a given size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .checks import InputError, check_prng_key, check_rows, check_weights
from .kernels import Kernel, diagonal, gram, pooled_rbf
from .padding import padded_cloud, size_class

_FAR = 4.0  # squared distance of the mean from the origin, in units of the rows' variance
_HERDING_LIMIT = 2**31  # rows with weight times rows drawn, above which "auto" does not herd: about a minute
_EXCHANGES = 2  # passes over the chosen rows


def resample(
    weights: Any,
    size: int,
    *,
    key: PRNGKeyArray,
    embeddings: Any = None,
    kernel: Kernel | None = None,
    labels: Sequence[Any] | None = None,
    label_proportions: Mapping[Any, Any] | None = None,
    method: str = "auto",
    distinct: bool = False,
) -> Int[np.ndarray, " size"]:
    """Indices of `size` rows distributed like the weights.

    "independent" draws with replacement, as SynAlign does (section 3.3). "systematic" takes every row its
    expected number of times, rounded up or down by one shared random offset (Kitagawa, 1996). "herding" picks
    rows greedily so that their MMD to the weighted pool falls fastest (Chen, Welling & Smola, "Super-Samples
    from Kernel Herding", UAI 2010), then exchanges each for a better one where there is one. "auto" is
    herding, which comes nearest to the weights, where `embeddings` are given and the sizes allow it, else
    systematic.

    Args:
        weights: (m,) relative weights.
        size: number of rows.
        key: randomness of the draws; herding uses it for nothing but ties.
        embeddings: (m, d), needed by herding.
        kernel: None is RBF with the median distance of the rows.
        labels: m labels; with them the label counts follow `label_proportions` or else the weights, rounded.
        label_proportions: label to share.
        method: "auto", "independent", "systematic" or "herding".
        distinct: no row twice: by "herding", and by "auto" where herding is possible and enough rows have
            weight. Near the effective sample size it costs nearness, for heavy rows cannot count twice.

    Raises:
        InputError: bad weights, a size out of range, an unknown method, herding without embeddings, or
            distinct rows from a method that repeats them or from too few rows with weight.
    """
    check_weights("weights", weights, len(weights))
    if method not in ("auto", "independent", "systematic", "herding"):
        raise InputError(f"method: {method!r}; choose 'auto', 'independent', 'systematic' or 'herding'")
    check_prng_key(key)
    if size < 1:
        raise InputError(f"size: {size}; at least one row is needed")
    if label_proportions is not None and labels is None:
        raise InputError("label_proportions: they need labels")
    if method == "herding" and embeddings is None:
        raise InputError("embeddings: herding needs them; give them or choose another method")
    if distinct and method not in ("auto", "herding"):
        raise InputError(f"distinct: {method} draws repeat rows; choose 'herding' or leave it out")
    if embeddings is not None:
        check_rows("embeddings", embeddings, min_rows=len(weights))
    values = np.asarray(weights, np.float64)
    out = []
    groups = _quotas(values, size, labels, label_proportions)
    for (rows, count), group_key in zip(groups, jax.random.split(key, len(groups)), strict=True):
        chosen = method
        if method == "auto":
            support = np.count_nonzero(values[rows])
            herds = embeddings is not None and support * count <= _HERDING_LIMIT
            chosen = "herding" if herds and (support >= count or not distinct) else "systematic"
        inside = values[rows] / values[rows].sum()
        if chosen == "independent":
            drawn = np.asarray(jax.random.choice(group_key, len(rows), (count,), p=jnp.asarray(inside)))
        elif chosen == "systematic":
            drawn = systematic(inside, count, float(jax.random.uniform(group_key)))
        else:
            drawn = _herding(inside, count, rows, embeddings, kernel, distinct)
        out.append(rows[drawn])
    return np.concatenate(out)


def _quotas(
    weights: np.ndarray, size: int, labels: Sequence[Any] | None, proportions: Mapping[Any, Any] | None
) -> list[tuple[np.ndarray, int]]:
    """Rows and number to draw of each label: largest remainders, so that the counts sum to `size`."""
    if labels is None:
        return [(np.arange(len(weights)), size)]
    if len(labels) != len(weights):
        raise InputError(f"labels: {len(labels)} labels for {len(weights)} weights")
    of_row = np.asarray(labels)
    if proportions is None:
        proportions = {label: float(weights[of_row == label].sum()) for label in sorted(set(of_row.tolist()))}
    total = sum(proportions.values())
    exact = np.array([size * share / total for share in proportions.values()])
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    groups = []
    for label, count in zip(proportions, counts, strict=True):
        rows = np.flatnonzero(of_row == label)
        if count and not weights[rows].sum() > 0:
            raise InputError(f"labels: {count} rows of {label!r} wanted, but none has weight")
        if count:
            groups.append((rows, int(count)))
    return groups


def systematic(weights: np.ndarray, count: int, offset: float) -> np.ndarray:
    """`count` indices at equal steps of the summed weights, the first `offset` (0 to 1) of a step in."""
    points = (np.arange(count) + offset) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), points, side="right"), len(weights) - 1)


def _herding(
    weights: np.ndarray, count: int, rows: np.ndarray, embeddings: Any, kernel: Kernel | None, distinct: bool
) -> np.ndarray:
    support = np.flatnonzero(weights > 0)
    if distinct and count > len(support):
        raise InputError(
            f"size: {count} distinct rows wanted, but {len(support)} have weight; ask for fewer, or leave"
            " out `distinct`"
        )
    points = np.asarray(embeddings[rows[support]])
    if kernel is None:
        points = _about_the_origin(points)
    kernel = pooled_rbf(points, points) if kernel is None else kernel
    w = weights[support] / weights[support].sum()
    # Filled up, so that labels of many sizes share one program.
    cloud, shares = padded_cloud(points, w)
    known = np.arange(len(cloud)) < len(points)
    places = np.full(size_class(count), -1, np.int32)
    chosen = _herd(
        kernel, jnp.asarray(cloud), jnp.asarray(shares, cloud.dtype), known, places, count, distinct
    )
    return support[np.asarray(chosen)[:count]]


def _about_the_origin(points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
    """In the precision that is computed in, moved by their mean where that is far: squared distances of rows
    that share a large offset would lose their digits, and the kernel here is one of distances.
    """
    dtype = jax.dtypes.canonicalize_dtype(np.promote_types(points.dtype, np.float32))
    mean = points.mean(axis=0, dtype=np.float64)
    if mean @ mean <= _FAR * points.var(axis=0, dtype=np.float64).sum():
        return points.astype(dtype)
    return (points.astype(np.float64) - mean).astype(dtype)


@jax.jit
def _herd(
    kernel: Kernel,
    points: Float[Array, "m d"],
    weights: Float[Array, " m"],
    known: Bool[Array | np.ndarray, " m"],
    places: Int[Array | np.ndarray, " p"],
    count: int | Int[Array, ""],
    distinct: bool | Bool[Array, ""],
) -> Int[Array, " p"]:
    """Greedy minimisation of ||mu - (1/(t+1)) sum of chosen||^2, then exchanges.

    Only rows that are `known` are chosen, for the first `count` of `places`, which are -1 before.
    """
    block = 1_024
    missing = -points.shape[0] % block
    blocks = jnp.pad(points, ((0, missing), (0, 0)), mode="edge").reshape(-1, block, points.shape[1])
    filled = jnp.pad(weights, (0, missing)).reshape(-1, block)

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        return total + gram(kernel, points, part[0]) @ part[1], None

    mean = jax.lax.scan(add, jnp.zeros_like(weights), (blocks, filled))[0]
    own = diagonal(kernel, points)

    def column(row: Array) -> Array:
        return gram(kernel, points, points[row][None])[:, 0]

    def step(t: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        chosen, chosen_sum, taken = state
        place = t % count
        old = chosen[place]
        # The first time round no place holds a row.
        chosen_sum = jax.lax.cond(old >= 0, lambda s: s - column(old), lambda s: s, chosen_sum)
        taken = taken.at[jnp.where(old >= 0, old, len(taken))].set(False, mode="drop")
        # The squared distance after adding row j is, up to a constant and the factor 1 / (t + 1)^2,
        # k_jj + 2 sum_chosen k_jl - 2 (t + 1) mu_j.
        size = jnp.minimum(t + 1, count).astype(points.dtype)
        merit = 2.0 * size * mean - 2.0 * chosen_sum - own
        best = jnp.argmax(jnp.where(taken | ~known, -jnp.inf, merit)).astype(chosen.dtype)
        return chosen.at[place].set(best), chosen_sum + column(best), taken.at[best].set(distinct)

    state = (places, jnp.zeros_like(weights), jnp.zeros_like(known))
    return jax.lax.fori_loop(0, (1 + _EXCHANGES) * count, step, state)[0]
