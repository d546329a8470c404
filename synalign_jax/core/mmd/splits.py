"""Quadratic forms of many weight vectors over the same points: MMD^2 of splits of one set of rows."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from synalign_jax.core.kernels import Kernel, gram

_VALUES = 2**24  # kernel values held at a time: 128 MiB in float64


def quadratic_forms(
    kernel: Kernel,
    points: Float[Any, "n d"],
    vectors: Float[np.ndarray, "vectors n"],
    *,
    values: int = _VALUES,
) -> Float[np.ndarray, " vectors"]:
    """v' K v for every row v of `vectors`, K being the kernel matrix of `points`, in float64.

    K is never held whole: its rows are computed a block at a time, each at most `values` numbers. With
    weights of a first set and minus those of a second in v, a form is MMD^2 (V-statistic) between them.

    Args:
        kernel: any tinygp kernel; its values are computed in the points' own dtype.
        points: (n, d) rows.
        vectors: (vectors, n) weights of any sign.
        values: how many kernel values may be held at a time.
    """
    points = jnp.asarray(points)
    count = points.shape[0]
    block = max(1, min(count, values // max(count, 1)))
    vectors = np.asarray(vectors, np.float64)
    out = np.zeros(len(vectors))
    for start in range(0, count, block):
        part = np.asarray(gram(kernel, points[start : start + block], points), np.float64)
        out += np.einsum("sb,sb->s", vectors[:, start : start + block], vectors @ part.T)
    return out
