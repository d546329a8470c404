"""Rows filled up to one of a few sizes, so that problems of many sizes share compiled code."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .kernels import Kernel, gram


def size_class(rows: int) -> int:
    """The size that `rows` rows are filled up to."""
    if rows <= 1024:
        return max(256, 1 << (rows - 1).bit_length())
    return -(-rows // 1024) * 1024


def padded(rows: Any) -> np.ndarray:
    """`rows` with zero rows after them."""
    rows = np.asarray(rows)
    missing = size_class(len(rows)) - len(rows)
    return np.pad(rows, ((0, missing), (0, 0))) if missing else rows


def padded_cloud(rows: Any, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`rows` with copies of the first after them, and zero weights for those: the origin may be far off."""
    rows = np.asarray(rows)
    missing = size_class(len(rows)) - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]), np.pad(weights, (0, missing))


def host_gram(kernel: Kernel, x: Any, y: Any) -> np.ndarray:
    """(len(x), len(y)) kernel values in a NumPy array, to be read only."""
    values = _gram(kernel, jnp.asarray(padded(x)), jnp.asarray(padded(y)))
    return np.asarray(values)[: len(x), : len(y)]


_gram = eqx.filter_jit(gram)
