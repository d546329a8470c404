"""One seed a run; every random choice draws from a stream named for its use."""

from __future__ import annotations

import zlib

import jax
import numpy as np


def generator(seed: int, *use: str | int) -> np.random.Generator:
    """A NumPy stream for one use: equal arguments give equal draws, different uses independent ones."""
    return np.random.default_rng([seed, *(_number(part) for part in use)])


def key(seed: int, *use: str | int) -> jax.Array:
    """A JAX key for one use."""
    result = jax.random.key(seed)
    for part in use:
        result = jax.random.fold_in(result, _number(part))
    return result


def _number(part: str | int) -> int:
    return part if isinstance(part, int) else zlib.crc32(part.encode())
