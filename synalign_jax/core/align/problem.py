"""One label's rows as an alignment problem, and its kernel sums."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import Kernel, diagonal, gram
from synalign_jax.core.padding import host_gram, padded
from synalign_jax.core.pca import Components
from synalign_jax.core.sharding import put_rows, replicated

from .space import Space, pool_components, pool_space

_OWN_BLOCK = 4_096  # real rows whose kernel values with all others are held together
BLOCK = 8_192  # rows of the pool that are read and evaluated together, on each device


@dataclass(frozen=True)
class Problem:
    """One label's rows. `cap` bounds the weights within the label, which sum to 1.

    `real`, `take` and the kernel sums are those of `space`; None is the space as given.
    """

    label: Any
    proportion: float
    real: Float[Array, "n d"]
    pool: Any
    rows: np.ndarray
    kernel: Kernel
    cap: float
    within_real: float  # mean of k(z_i, z_i')
    noise_band: float  # (mean k(z_i, z_i) - mean over pairs k(z_i, z_i')) / n
    space: Space | None = None

    @property
    def size(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> Float[Array, "rows d"]:
        rows = jnp.asarray(self.pool[self.rows[positions]], self.real.dtype)
        return rows if self.space is None else self.space(rows)

    @cached_property
    def components(self) -> Components:
        """The pool's principal components, which spaces of every power share."""
        return pool_components(self.pool, self.rows)

    def weighing_components(self, power: float) -> Problem:
        """The same rows in `pool_space`; itself for power 0."""
        if power == 0:
            return self
        assert self.space is None
        space = pool_space(self.real, self.pool, self.rows, power, self.components)
        if space is None:
            return self
        real = space(self.real)
        within, band = _own_sums(self.kernel, real)
        return replace(self, real=real, within_real=within, noise_band=band, space=space)

    def blocks(self, mesh: Mesh | None) -> Iterator[tuple[slice, Float[Array, "rows d"]]]:
        """All rows in order, block by block, each block's split over the devices of a mesh.

        Each process reads its own part. The last rows, too few to be split evenly, lie on every device.
        """
        devices = 1 if mesh is None else mesh.size
        even = self.size // devices * devices
        for start in range(0, even, BLOCK * devices):
            stop = min(start + BLOCK * devices, even)
            rows = np.arange(start, stop)
            yield slice(start, stop), self.take(rows) if mesh is None else put_rows(View(self, rows), mesh)
        if mesh is not None and even < self.size:
            rest = np.asarray(self.take(np.arange(even, self.size)))
            yield slice(even, self.size), jax.device_put(rest, replicated(mesh))


class View:
    """Chosen rows of a problem's pool, read when they are sliced."""

    def __init__(self, problem: Problem, positions: np.ndarray) -> None:
        self._problem, self._positions = problem, positions
        self.shape = (len(positions), problem.real.shape[1])

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = index[0] if isinstance(index, tuple) else index
        return np.asarray(self._problem.take(self._positions[rows]))


def split(
    real: Any,
    synthetic: Any,
    real_labels: Sequence[Any] | None,
    synthetic_labels: Sequence[Any] | None,
    label_proportions: Mapping[Any, Any] | None,
    kernel: Kernel,
    max_weight: float | None,
) -> list[Problem]:
    """One problem a label."""
    if (real_labels is None) != (synthetic_labels is None):
        raise InputError("labels: given for one side only; give real_labels and synthetic_labels, or neither")
    if real_labels is None or synthetic_labels is None:
        if label_proportions is not None:
            raise InputError("label_proportions: they need real_labels and synthetic_labels")
        everything = np.arange(len(synthetic))
        return [_build(None, 1.0, jnp.asarray(real), synthetic, everything, kernel, max_weight)]
    for name, labels, count in (
        ("real_labels", real_labels, len(real)),
        ("synthetic_labels", synthetic_labels, len(synthetic)),
    ):
        if len(labels) != count:
            raise InputError(f"{name}: {len(labels)} labels for {count} rows")
    of_real, of_pool = np.asarray(real_labels), np.asarray(synthetic_labels)
    present = sorted(set(of_real.tolist()))
    shares = dict(label_proportions or {label: float(np.mean(of_real == label)) for label in present})
    unseen = [label for label in shares if label not in present]
    if unseen:
        raise InputError(
            f"label_proportions: {unseen} have no real rows to match; drop them or add real rows"
        )
    if not all(share >= 0 for share in shares.values()) or not sum(shares.values()) > 0:
        raise InputError("label_proportions: they are not negative and their sum is positive")
    missing = [label for label, share in shares.items() if share > 0 and not np.any(of_pool == label)]
    if missing:
        raise InputError(
            f"synthetic_labels: the pool has no row labelled {_some(missing)}; generate some, drop the label"
            " from the real rows, or set its share to 0 in label_proportions"
        )
    surplus = sorted(set(of_pool.tolist()) - set(present))
    if surplus:
        warnings.warn(
            f"{_some(surplus)} label synthetic rows but no real row: their weight is 0", stacklevel=3
        )
    total = sum(shares.values())
    return [
        _build(
            label,
            share / total,
            jnp.asarray(np.asarray(real)[np.flatnonzero(of_real == label)]),
            synthetic,
            np.flatnonzero(of_pool == label),
            kernel,
            max_weight,
        )
        for label, share in shares.items()
        if share > 0
    ]


def _some(labels: list[Any]) -> str:
    return f"{labels[:5]}" + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")


def _build(
    label: Any,
    proportion: float,
    real: Array,
    pool: Any,
    rows: np.ndarray,
    kernel: Kernel,
    max_weight: float | None,
) -> Problem:
    cap = 1.0 if max_weight is None else min(1.0, max_weight / proportion)
    if cap * len(rows) < 1.0:
        name = "" if label is None else f" labelled {label!r}"
        raise InputError(
            f"max_weight: {max_weight} for {len(rows)} rows{name} keeps their sum below {proportion:.3g};"
            f" give at least {proportion / len(rows):.3g}"
        )
    return Problem(label, proportion, real, pool, rows, kernel, cap, *_own_sums(kernel, real))


def _own_sums(kernel: Kernel, real: Float[Array, "n d"]) -> tuple[float, float]:
    """`within_real` and `noise_band`."""
    n, rows = real.shape[0], np.asarray(real)
    own = float(np.asarray(diagonal(kernel, jnp.asarray(padded(rows))))[:n].mean())
    sums = [
        host_gram(kernel, rows[start : start + _OWN_BLOCK], rows).sum(dtype=np.float64)
        for start in range(0, n, _OWN_BLOCK)
    ]
    within = float(sum(sums)) / n**2
    pairs = (n * within - own) / (n - 1) if n > 1 else float("nan")
    return within, (own - pairs) / n


@jax.jit
def centred(
    K: Float[Array, "m m"], attraction: Float[Array, " m"], within_real: float | Float[Array, ""]
) -> Float[Array, "m m"]:
    """<phi(e_j) - mu, phi(e_l) - mu> with mu the mean of the real rows: on the simplex MMD^2 is w' K w.

    Centring takes out the large constant part of the kernel, which costs digits and conditioning.
    """
    return K - attraction[:, None] - attraction[None, :] + within_real


@jax.jit
def mean_columns(kernel: Kernel, rows: Float[Array, "m d"], real: Float[Array, "n d"]) -> Float[Array, " m"]:
    """mean over i of k(e_j, z_i)."""
    return jnp.mean(gram(kernel, rows, real), axis=1)


def centred_gram(
    kernel: Kernel, rows: Any, attraction: np.ndarray, within_real: float
) -> Float[Array, "s s"]:
    """`centred` of the rows' Gram matrix, filled up to its size class with zeros."""
    filled = padded(rows)
    towards = np.pad(attraction, (0, len(filled) - len(attraction)))
    within = jnp.asarray(within_real, filled.dtype)
    return _centred_gram(
        kernel, jnp.asarray(filled), jnp.asarray(towards), within, jnp.asarray(len(attraction))
    )


@eqx.filter_jit
def _centred_gram(
    kernel: Kernel,
    rows: Float[Array, "s d"],
    attraction: Float[Array, " s"],
    within_real: Float[Array, ""],
    count: Int[Array, ""],
) -> Float[Array, "s s"]:
    known = jnp.arange(rows.shape[0]) < count
    values = centred(gram(kernel, rows, rows), attraction, within_real)
    return jnp.where(known[:, None] & known, values, 0.0)
