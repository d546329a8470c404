"""What is told of a pool beside real rows, for `align` and for rows that somebody else weighed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from synalign_jax.core.effective import effective_rows
from synalign_jax.core.mmd.two_sample import two_sample_test
from synalign_jax.evaluation.figures import plane_figures, weight_figure
from synalign_jax.evaluation.report import MAX_ROWS, rows_shown
from synalign_jax.evaluation.report.facts import Distance, Figure, ReportFacts, SyntheticRow
from synalign_jax.pipeline.data.errors import listed
from synalign_jax.pipeline.stages.resample import nearest_rows

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.pipeline.data.table import Table

_PLANE_ROWS = 20_000  # enough to find two principal directions
_SPLITS = 400


def pool_facts(
    real: Table,
    pool: Table,
    vectors: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
    drawn: np.ndarray,
    key: PRNGKeyArray,
    *,
    found: Alignment | None = None,
    labels: list[str] | None = None,
) -> ReportFacts:
    """Pictures, rows and, where the weights come from `align`, the distance.

    Args:
        real, pool: texts and labels, where there are any.
        vectors: (n, d) and (m, d), of both.
        weights: (m,), not all 0.
        drawn: positions of the resampled rows in the pool; none where rows were not drawn.
        key: decides the splits of the real rows behind the noise band.
        found: the alignment, which knows how far the weights reach on rows left out of their fit.
        labels: of the real rows, as the alignment had them.
    """
    real_vectors, pool_vectors = vectors
    after_rows = drawn if len(drawn) else np.flatnonzero(weights)
    before, after, share = plane_figures(
        _some(real_vectors), _some(pool_vectors), pool_vectors[_spaced(after_rows, _PLANE_ROWS)]
    )
    points = "text" if pool.texts is not None else "row"
    figures = (
        Figure(
            "Where the rows lie",
            f"Each point is a {points}; the plane holds {share:.0%} of the variance of the embeddings."
            " Equally many synthetic points are drawn on both sides.",
            (("the pool as it is", before), ("after alignment", after)),
        ),
        Figure(
            "Weights",
            "How many rows of the pool have which weight; 1 is the even weight.",
            (("", weight_figure(weights)),),
        ),
    )
    return ReportFacts(
        title="Aligned pool",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        distance=None if found is None else _distance(found, labels, real_vectors, key),
        effective_rows=effective_rows(weights) if found is None else found.ess,
        pool_rows=len(weights),
        figures=figures,
        rows=_rows(weights, real, pool, real_vectors, pool_vectors, drawn),
    )


def _distance(
    found: Alignment, of_real: list[str] | None, vectors: np.ndarray, key: PRNGKeyArray
) -> Distance | None:
    """To a sample of as many real rows as there are, which the weights have not seen.

    The V-statistic counts such a sample's own noise, so the cross-validated distance to its law gets the
    noise band on top. Labels of a single real row, of which none can be left out, do not count; None where
    nothing was held out.
    """
    measured = [group for group in found.groups if np.isfinite(group.heldout_mmd2 + group.noise_band)]
    if not measured:
        return None
    noise = np.zeros(_SPLITS)
    before = after = 0.0
    labels = None if of_real is None else np.asarray(of_real)
    for group, group_key in zip(measured, jax.random.split(key, len(measured)), strict=True):
        rows = vectors if labels is None else vectors[np.flatnonzero(labels == group.label)]
        share = group.proportion**2
        before += share * group.mmd2_before
        after += share * (group.heldout_mmd2 + group.noise_band)
        noise += share * _noise(found.kernel, rows, group.noise_band, group_key)
    low, high = np.quantile(noise, [0.05, 0.95])
    left_out = len(found.groups) - len(measured)
    counted = sum(group.real_rows for group in measured)
    return Distance(
        before=before,
        after=after,
        noise=(float(low), float(high)),
        rows=f"{counted:,} real rows; “aligned” by cross-validation, on rows left out of the fit"
        + (f"; without {left_out:,} labels of one real row each" if left_out else ""),
    )


def unmeasured(found: Alignment) -> list[str]:
    """Why there is no verdict, or one on a part of the labels only."""
    single = [group.label for group in found.groups if group.real_rows < 2]
    if single and len(single) < len(found.groups):
        return [f"the held-out distance leaves out labels of a single real row: {listed(single, 5)}"]
    if not any(np.isfinite(group.heldout_mmd2) for group in found.groups):
        return [
            "there is no verdict on the distance, since no real rows were held out: with a penalty that is"
            " given (--regularization), or by --method projections, nothing is cross-validated"
        ]
    return []


def _noise(kernel: Any, rows: np.ndarray, mean: float, key: PRNGKeyArray) -> np.ndarray:
    """MMD^2 between a real sample of so many rows and its law, as often as it takes to know its quantiles.

    That between the halves of random splits has the same law on another scale, which `mean` sets.
    """
    half = len(rows) // 2
    if half < 2:
        return np.full(_SPLITS, mean)
    null = two_sample_test(rows[:half], rows[half:], key=key, kernel=kernel, permutations=_SPLITS).null
    return null * (mean / null.mean()) if null.mean() > 0 else null


def _rows(
    weights: np.ndarray,
    real: Table,
    pool: Table,
    real_vectors: np.ndarray,
    pool_vectors: np.ndarray,
    drawn: np.ndarray,
) -> tuple[SyntheticRow, ...]:
    if pool.texts is None:
        return ()
    shown = rows_shown(weights, MAX_ROWS)
    index, distance = nearest_rows(pool_vectors[shown], real_vectors)
    even, kept = weights.sum() / len(weights), set(drawn.tolist())
    return tuple(
        SyntheticRow(
            text=pool.texts[i],
            label="" if pool.labels is None else pool.labels[i],
            weight=float(weights[i] / even),
            chosen=i in kept,
            demonstrations=(),
            attributes={},
            nearest_text=f"row {nearest}" if real.texts is None else real.texts[nearest],
            nearest_distance=float(far),
            model="",
        )
        for i, nearest, far in zip(shown.tolist(), index.tolist(), distance.tolist(), strict=True)
    )


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[_spaced(np.arange(len(rows)), _PLANE_ROWS)]


def _spaced(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, at even steps."""
    return values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]
