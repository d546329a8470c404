"""Checks of arrays from outside: one clear error that names the row, the column and the mend."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

_BLOCK = 65_536


class InputError(ValueError):
    """An array or a setting that cannot be used; the message says which, where, and what to do."""


def check_rows(name: str, x: Any, *, min_rows: int = 1, width: int | None = None) -> None:
    """Raise unless `x` is a finite floating (rows, width) array.

    Tracers pass by shape and dtype alone: their values are not known while JAX traces.
    Values are read in blocks, so a memory-mapped array is never loaded whole.

    Args:
        name: what the caller calls `x`; it opens the message.
        x: NumPy array, `numpy.memmap` or JAX array.
        min_rows: the fewest rows that make sense to the caller.
        width: the number of columns wanted, when another array fixes it.

    Raises:
        InputError: wrong rank, dtype, width, too few rows, NaN or infinity.
    """
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise InputError(f"{name}: expected an array, got {type(x).__name__}; convert it with numpy.asarray")
    if len(x.shape) != 2:
        raise InputError(f"{name}: expected shape (rows, width), got {tuple(x.shape)}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"{name}: expected floating-point values, got {x.dtype}; use astype('float32')")
    rows, columns = x.shape
    if rows < min_rows:
        raise InputError(f"{name}: {rows} row(s), at least {min_rows} needed")
    if columns == 0:
        raise InputError(f"{name}: rows have no columns")
    if width is not None and columns != width:
        raise InputError(f"{name}: rows are {columns} wide, {width} expected; embed both with the same model")
    if isinstance(x, jax.core.Tracer):
        return
    for start in range(0, rows, _BLOCK):
        block = np.asarray(x[start : start + _BLOCK])
        # A sum is finite unless an entry is not (or it overflows): one cheap pass finds the clean blocks.
        with np.errstate(over="ignore", invalid="ignore"):
            clean = np.isfinite(block.sum(dtype=np.float64))
        if clean:
            continue
        bad = np.argwhere(~np.isfinite(block))
        if bad.size:
            row, column = (int(i) for i in bad[0])
            raise InputError(
                f"{name}: row {start + row}, column {column} is {block[row, column]}"
                f" ({len(np.unique(bad[:, 0]))} bad row(s) in this block); drop or re-embed such rows"
            )


def as_floats(x: Any) -> Any:
    """`x` itself, or as float32 where its type is too short to compute in or in another byte order.

    float16 and bfloat16 lose the digits that an MMD is about; JAX takes no array of foreign byte order.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return x
    if isinstance(x, np.ndarray) and not dtype.isnative:
        wide = dtype.itemsize == 8 and jax.config.read("jax_enable_x64")
        return np.asarray(x, np.float64 if wide else np.float32)
    short = jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4
    return x.astype(jnp.float32) if short else x


def check_weights(name: str, weights: Any, rows: int) -> None:
    """Raise unless `weights` is a (rows,) array, non-negative, finite, with a positive sum.

    Raises:
        InputError: wrong shape, a negative or non-finite entry (its row is named), or a zero sum.
    """
    if tuple(np.shape(weights)) != (rows,):
        raise InputError(f"{name}: expected shape ({rows},), got {tuple(np.shape(weights))}")
    if isinstance(weights, jax.core.Tracer):
        return
    values = np.asarray(weights)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        raise InputError(f"{name}: row {bad[0]} is {values[bad[0]]}; weights are finite and not negative")
    if not values.sum() > 0:
        raise InputError(f"{name}: the weights sum to 0; at least one row needs weight")


def check_prng_key(key: Any) -> None:
    """Raise unless `key` is one PRNG key, as `jax.random.key` or `jax.random.PRNGKey` makes it.

    Raises:
        InputError: a number, None, a batch of keys or anything else.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == jnp.uint32 and shape is not None and len(shape) == 1
    if not (typed or raw):
        raise InputError(f"key: {key!r} is no PRNG key; give jax.random.key(0), or one of another number")


def are_label_sets(labels: Any) -> bool:
    """Whether rows may have several labels: a tuple, list or set of them for every row."""
    if labels is None or len(labels) == 0:
        return False
    return all(isinstance(row, list | tuple | set | frozenset) for row in labels)
