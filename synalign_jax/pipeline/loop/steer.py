"""What is asked next, from what the weighted rows so far leave open."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

_ODDS = (0.25, 4.0)
_SHOWN = 2  # rows on each side of a contrast


def demonstrations(
    real: Float[np.ndarray, "n d"],
    witness: Float[np.ndarray, " n"],
    shown: Iterable[int],
    count: int,
    *,
    neighbors: int,
    length_scale: float,
    by: str = "auto",
) -> list[list[int]]:
    """Clusters of one label's real rows (positions), each a centre and its nearest rows.

    A centre is the row of the largest witness times posterior variance: where real text is that no synthetic
    row stands for, and that neither an earlier centre nor the rows in flight (`shown`) have looked at. The
    witness has the synthetic rows in it, the variance the demonstrations (SynAlign, section 3.1).

    Args:
        real: the label's real rows.
        witness: at each of them.
        shown: positions of centres whose rows are not in yet.
        count: clusters wanted.
        neighbors: rows beside each centre.
        length_scale: of the RBF kernel.
        by: "auto", or "witness" or "variance" for that factor alone.
    """
    n = len(real)
    kernel = np.exp(-_squares(real) / (2.0 * length_scale**2))
    # Where every place is over-supplied the least so comes first.
    need = np.maximum(witness - witness.min(), 0.0) if witness.max() <= 0 else np.maximum(witness, 0.0)
    need = need + 1e-6 * max(float(need.max()), 1e-12)
    need = np.ones(n) if by == "variance" else need
    picked = np.zeros(n, bool)
    variance = np.ones(n)
    factor: list[np.ndarray] = []
    clusters: list[list[int]] = []

    def observe(row: int) -> None:
        """One step of a pivoted Cholesky factor: the posterior variance after a look at `row`."""
        known = np.array([column[row] for column in factor])
        residual = kernel[:, row] - (np.stack(factor, axis=1) @ known if factor else 0.0)
        column = residual / np.sqrt(max(variance[row], 0.0) + 1e-6)
        factor.append(column)
        variance[:] = np.maximum(variance - column**2, 0.0)

    for row in dict.fromkeys(shown):
        observe(row)
    for _ in range(count):
        if len(factor) >= n:
            variance[:], factor = 1.0, []
        if by == "witness":  # without the variance nothing else keeps a centre from being taken again
            picked &= not picked.all()
            center = int(np.argmax(np.where(picked, -1.0, need)))
            picked[center] = True
        else:
            center = int(np.argmax(need * variance))
            observe(center)
        near = np.argsort(-kernel[center], kind="stable")
        clusters.append([center, *near[near != center][:neighbors].tolist()])
    return clusters


def attribute_odds(attributes: Sequence[str], relative: np.ndarray) -> dict[tuple[str, str], float]:
    """How much the rows weigh that each attribute value (name, value) led to, beside the mean row.

    Only as far as the values of a name differ by more than chance: the best linear predictor of a value's
    mean, with the variance between values found by moments (Searle et al., Variance Components, 1992). What
    varies by itself is a set of attributes that was asked for, whose rows are no independent draws.

    Args:
        attributes: of each row, as JSON.
        relative: its weight.
    """
    # The rows of a call have the same ones: each is read once.
    of_same: dict[str, list[float]] = defaultdict(list)
    for text, weight in zip(attributes, relative.tolist(), strict=True):
        of_same[text].append(weight)
    means: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for text, weights in of_same.items():
        for name, value in json.loads(text).items():
            means[name][value].append(float(np.mean(weights)))
    found = {}
    for name, values in means.items():
        for value, mean in zip(values, _predicted(list(values.values())), strict=True):
            found[name, value] = float(np.clip(mean, *_ODDS))
    return found


def _predicted(groups: Sequence[Sequence[float]]) -> np.ndarray:
    """Each group's mean beside that of all, as far as it is no chance; 1 where that is unknown."""
    counts = np.array([len(group) for group in groups], float)
    means = np.array([np.mean(group) for group in groups])
    total, kinds = counts.sum(), len(groups)
    overall = float(counts @ means / total)
    if kinds < 2 or total <= kinds or overall <= 0:
        return np.ones(kinds)
    spread = sum(float(np.sum((np.array(g) - m) ** 2)) for g, m in zip(groups, means, strict=True))
    within = spread / (total - kinds)
    among = float(counts @ (means - overall) ** 2) / (kinds - 1)
    between = max((among - within) * (kinds - 1) / (total - counts @ counts / total), 0.0)
    known = between / (between + within / counts) if between > 0 else np.zeros(kinds)
    return 1.0 + known * (means / overall - 1.0)


def contrast(relative: np.ndarray) -> tuple[list[int], list[int]]:
    """Positions of the rows of a label that weigh most and least; none while there are few."""
    if len(relative) < 4 * _SHOWN:
        return [], []
    order = np.argsort(relative, kind="stable")
    return order[::-1][:_SHOWN].tolist(), order[:_SHOWN].tolist()


def nearest_cluster(
    vectors: Float[np.ndarray, "n d"], center: int, clusters: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The reasoned cluster whose centre is nearest to a real row: its attributes stand for the row's."""
    centers = vectors[[cluster["center"] for cluster in clusters]]
    return clusters[int(np.argmin(np.sum((centers - vectors[center]) ** 2, axis=1)))]


def _squares(x: np.ndarray) -> np.ndarray:
    norms = np.sum(x**2, axis=1)
    return np.maximum(norms[:, None] + norms[None] - 2.0 * x @ x.T, 0.0)
