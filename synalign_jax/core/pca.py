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
    """The `dims` directions of largest variance, in float64.

    Fewer where `x` has fewer columns, or varies in fewer directions, but two at least where there are two
    columns. Where `x` has fewer rows than columns the smaller of its two Gram matrices is decomposed.
    """
    n, d = x.shape
    mean = np.zeros(d)
    for i in range(0, n, _BLOCK):
        mean += np.asarray(x[i : i + _BLOCK]).sum(axis=0, dtype=np.float64) / n
    values, vectors = _of_rows(np.asarray(x) - mean, dims) if n < d else _of_columns(x, mean)
    values, vectors = values[:dims], vectors[:, :dims]
    largest = np.argmax(np.abs(vectors), axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return Components(mean, vectors * signs, np.maximum(values, 0.0))


def _of_columns(x: Any, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, d = x.shape
    scatter = np.zeros((d, d))
    for i in range(0, n, _BLOCK):
        centred = np.asarray(x[i : i + _BLOCK]) - mean
        scatter += centred.T @ centred / n
    values, vectors = np.linalg.eigh(scatter)
    return values[::-1], vectors[:, ::-1]


def _of_rows(centred: np.ndarray, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """From X X', whose eigenvectors u give those of X' X as X' u: d^3 becomes n^2 d."""
    n, d = centred.shape
    values, left = np.linalg.eigh(centred @ centred.T / n)
    values, left = values[::-1], left[:, ::-1]
    rank = int(np.count_nonzero(values > n * np.finfo(np.float64).eps * max(values[0], 0.0)))
    vectors = centred.T @ (left[:, :rank] / np.sqrt(n * values[:rank]))
    missing = min(dims, 2) - rank
    if missing > 0:  # a plane to draw in, whatever the rows
        whole, _ = np.linalg.qr(np.concatenate([vectors, np.eye(d)[:, : rank + missing]], axis=1))
        vectors = np.concatenate([vectors, whole[:, rank : rank + missing]], axis=1)
        values = np.concatenate([values[:rank], np.zeros(missing)])
    return values[: vectors.shape[1]], vectors
