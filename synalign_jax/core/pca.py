"""Principal components of a pool, read in blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_BLOCK = 65_536


class Components(NamedTuple):
    """Attributes:
    mean: (d,) of the rows.
    axes: (d, dims) orthonormal, by falling variance; the largest entry of each is positive.
    variance: (dims,) of the rows along each axis.
    """

    mean: np.ndarray
    axes: np.ndarray
    variance: np.ndarray

    def project(self, x: Any) -> np.ndarray:
        """(rows, dims) coordinates of `x`, in the dtype of `x`."""
        blocks = [np.asarray(x[i : i + _BLOCK]) for i in range(0, max(x.shape[0], 1), _BLOCK)]
        return np.concatenate([((b - self.mean) @ self.axes).astype(b.dtype) for b in blocks])


def principal_components(x: Any, dims: int) -> Components:
    """The `dims` directions of largest variance, in float64; fewer where `x` has fewer columns."""
    n, d = x.shape
    mean = np.zeros(d)
    for i in range(0, n, _BLOCK):
        mean += np.asarray(x[i : i + _BLOCK]).sum(axis=0, dtype=np.float64) / n
    scatter = np.zeros((d, d))
    for i in range(0, n, _BLOCK):
        centred = np.asarray(x[i : i + _BLOCK]) - mean
        scatter += centred.T @ centred / n
    values, vectors = np.linalg.eigh(scatter)
    values, vectors = values[::-1][:dims], vectors[:, ::-1][:, :dims]
    largest = np.argmax(np.abs(vectors), axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return Components(mean, vectors * signs, np.maximum(values, 0.0))
