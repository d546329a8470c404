"""How alike two sets of embeddings are: Fréchet distance, MAUVE, precision and recall of manifolds."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from synalign_jax.core.checks import check_rows

_SCALING = 5.0
_MIXTURES = np.linspace(1e-6, 1 - 1e-6, 25)
_EXPLAINED = 0.9
_BLOCK = 1_024


def frechet_distance(x: Any, y: Any) -> float:
    """||mu_x - mu_y||^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)): FID, on whatever embeddings are given.

    Biased upwards by 1 / rows, so that only sets of the same sizes compare.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017, equation 6.

    Raises:
        InputError: bad rows, or fewer than two on a side.
    """
    _check(x, y)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    mean = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    # With S = C'C, the trace of (S_x S_y)^(1/2) is the nuclear norm of C_x C_y': no root of a matrix that
    # rounding has made indefinite.
    roots = [_root(rows) for rows in (x, y)]
    cross = np.linalg.norm(roots[0] @ roots[1].T, "nuc")
    value = mean + sum(np.square(root).sum() for root in roots) - 2 * cross
    return float(max(value, 0.0))


def _root(rows: np.ndarray) -> np.ndarray:
    """C with C'C the covariance (divisor rows - 1), with no more rows than columns."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    return centred if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


def mauve(x: Any, y: Any, *, seed: int, buckets: int | None = None) -> float:
    """The area under the frontier of exp(-5 KL(q | r)) against exp(-5 KL(p | r)), r mixing p and q; 1 is
    alike.

    p and q are the shares of the two sets in clusters of both together (k-means in the principal components
    that hold 90 % of the variance), a tenth as many as a set has rows.

    Source: Pillutla et al., "MAUVE", NeurIPS 2021, equations 1 to 3 and section 3; there on GPT-2's features.

    Args:
        x, y: (rows, width).
        seed: where k-means starts.
        buckets: clusters; None is a tenth of the smaller set, 2 at least.

    Raises:
        InputError: bad rows, or fewer than two on a side.
    """
    _check(x, y)
    both = np.concatenate([x, y]).astype(np.float64)
    both = both - both.mean(axis=0)
    values, directions = eigh(both.T @ both)
    held = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-30)
    kept = min(int(np.searchsorted(held, _EXPLAINED)) + 1, len(values))
    points = both @ directions[:, ::-1][:, :kept]
    count = buckets or max(2, round(min(len(x), len(y)) / 10))
    labels = _clusters(points, count, seed)
    p, q = (np.bincount(part, minlength=count) / len(part) for part in (labels[: len(x)], labels[len(x) :]))
    return frontier_area(p, q)


def frontier_area(p: Float[np.ndarray, " buckets"], q: Float[np.ndarray, " buckets"]) -> float:
    """MAUVE of two histograms: the area under their divergence frontier, from both axes, averaged."""
    points = [(0.0, 1.0)]
    for share in _MIXTURES:
        r = share * p + (1 - share) * q
        points.append((np.exp(-_SCALING * _divergence(q, r)), np.exp(-_SCALING * _divergence(p, r))))
    points.append((1.0, 0.0))
    a, b = np.array(points).T
    # Equal steps of one axis are walked from the top of the other down.
    order = np.lexsort((-b, a)), np.lexsort((-a, b))
    areas = np.trapezoid(b[order[0]], a[order[0]]), np.trapezoid(a[order[1]], b[order[1]])
    return float(np.mean(areas))


def _divergence(p: np.ndarray, r: np.ndarray) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / r[held])))


def _clusters(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    from scipy.cluster.vq import kmeans2  # a second of loading

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cluster that runs empty stays so: it holds no rows of either set
        start = points[np.random.default_rng(seed).choice(len(points), count, replace=False)]
        return kmeans2(points, start, minit="matrix", iter=20)[1]


class Manifold(NamedTuple):
    """Shares of `y` inside the balls around `x`, and the other way; see `manifold`."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(x: Any, y: Any, *, neighbors: int = 5) -> Manifold:
    """Precision, recall, density and coverage of `y` against the real rows `x`.

    Each row has a ball that reaches to its k-th nearest neighbour in its own set. Precision: the share of
    `y` in any ball of `x`. Recall: of `x` in any ball of `y`. Density: how many balls of `x` a row of `y`
    lies in, over k. Coverage: the share of `x` whose own ball holds a row of `y`.

    Source: Kynkäänniemi et al., NeurIPS 2019, equations 1 and 2; Naeem et al., ICML 2020, equations 3 and 5.

    Raises:
        InputError: bad rows, or fewer than two on a side.
    """
    _check(x, y)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    middle = x.mean(axis=0)
    x, y = x - middle, y - middle
    reach_x, reach_y = (_reach(rows, min(neighbors, len(rows) - 1)) for rows in (x, y))
    inside_any, balls, near = np.zeros(len(y), bool), 0, np.zeros(len(x), bool)
    recalled = np.zeros(len(x), bool)
    for start in range(0, len(x), _BLOCK):
        part = slice(start, start + _BLOCK)
        squared = _squared(x[part], y)
        inside = squared < reach_x[part, None]
        inside_any |= inside.any(axis=0)
        balls += int(inside.sum())
        near[part] = inside.any(axis=1)
        recalled[part] = (squared < reach_y[None, :]).any(axis=1)
    return Manifold(
        precision=float(inside_any.mean()),
        recall=float(recalled.mean()),
        density=balls / (min(neighbors, len(x) - 1) * len(y)),
        coverage=float(near.mean()),
    )


def _reach(rows: np.ndarray, neighbors: int) -> np.ndarray:
    """(rows,) squared distance to the k-th nearest other row."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        squared = _squared(rows[start : start + _BLOCK], rows)
        # The row itself is the first.
        squared[np.arange(len(squared)), start + np.arange(len(squared))] = -1.0
        out[start : start + _BLOCK] = np.partition(squared, neighbors, axis=1)[:, neighbors]
    return out


def _squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.maximum(squared, 0.0)


def vendi_score(rows: Any) -> float:
    """exp of the entropy of the eigenvalues of K / n, K the cosines: how many rows unlike each other they
    are worth.

    Source: Friedman & Dieng, "The Vendi Score", TMLR 2023, definition 3.1.

    Raises:
        InputError: bad rows.
    """
    check_rows("rows", rows)
    rows = np.asarray(rows, np.float64)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    # The smaller of the two products has the same eigenvalues, but for zeros.
    product = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    values = eigh(product / len(unit), eigvals_only=True)
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


def _check(x: np.ndarray, y: np.ndarray) -> None:
    check_rows("x", x, min_rows=2)
    check_rows("y", y, min_rows=2, width=x.shape[1])
