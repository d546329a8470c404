"""What is told of a pool beside real rows, for `align` and for rows that somebody else weighed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from synalign_jax.core.mmd.two_sample import two_sample_test
from synalign_jax.core.nearest import nearest_rows
from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.evaluation.figures import length_figure
from synalign_jax.evaluation.report import MAX_ROWS, rows_shown
from synalign_jax.evaluation.report.facts import Copies, Distance, Kinds, ReportFacts, SyntheticRow
from synalign_jax.evaluation.report.kinds import kinds_by, kinds_of_sets, ranges, weights_facts, word_kinds
from synalign_jax.evaluation.report.maps import maps_of
from synalign_jax.pipeline.data.copies import find_copies
from synalign_jax.pipeline.data.errors import listed
from synalign_jax.pipeline.stages.report_parts import copies_of

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.pipeline.data.table import Table

_SPLITS = 400
_MOST_COMPARED = 200_000  # rows among which copies are looked for
_MOST_VALUES = 20  # of another column, whose values are taken for sources
_COLUMN_ROWS = 20_000  # rows of other columns that are read
_COLUMNS, _CELL = 12, 200  # other columns that stand beside a row, and characters of each


def pool_facts(
    real: Table,
    pool: Table,
    vectors: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray | None,
    drawn: np.ndarray,
    key: PRNGKeyArray,
    *,
    found: Alignment | None = None,
    labels: list[str] | None = None,
    copies: Copies | None = None,
    group: str | None = None,
) -> ReportFacts:
    """Pictures, rows and, where the weights come from `align`, the distance.

    Args:
        real, pool: texts and labels, where there are any.
        vectors: (n, d) and (m, d), of both.
        weights: (m,), not all 0; None shows the pool as it is.
        drawn: positions of the resampled rows in the pool; none where rows were not drawn.
        key: decides the splits of the real rows behind the noise band.
        found: the alignment, which knows how far the weights reach on rows left out of their fit.
        labels: of the real rows, as the alignment had them.
        copies: as the report tells them, where they were looked for already; None looks for them here.
        group: a column of the pool that says what a row comes from.
    """
    if copies is None and len(pool) <= _MOST_COMPARED:
        looked = find_copies((pool.texts, vectors[1]), (real.texts, vectors[0]))
        copies = copies_of(looked, pool.texts, real.texts)
    maps, maps_note = maps_of(*vectors, weights, drawn)
    texts = pool.texts
    return ReportFacts(
        title="Aligned pool",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        distance=None if found is None else distance_of(found, labels, vectors[0], key),
        weights=None if weights is None else weights_facts(weights),
        kinds=_kinds(real, pool, weights, group),
        lengths=None if texts is None else length_figure(real.texts, texts, weights),
        words=None if texts is None or weights is None else word_kinds(texts, weights, real.texts),
        copies=copies,
        rows=_rows(np.ones(len(pool)) if weights is None else weights, real, pool, *vectors, drawn),
        maps=maps,
        maps_note=maps_note,
    )


def _kinds(real: Table, pool: Table, weights: np.ndarray | None, group: str | None) -> tuple[Kinds, ...]:
    """Rows by label, and by every other column that has few values: what they come from, mostly."""
    found: list[Kinds | None] = []
    if pool.label_sets is not None:
        found.append(kinds_of_sets("label", pool.label_sets, weights, real.label_sets or []))
        if any(len(labels) > 1 for labels in (*pool.label_sets, *(real.label_sets or []))):
            found.append(kinds_by("combination of labels", _combined(pool), weights, _combined(real)))
    elif pool.labels is not None:
        found.append(kinds_by("label", pool.labels, weights, real.labels))
    names = [name for name in pool.others.names if name != group]
    if group is not None:
        names.insert(0, group)
    rows = _some(len(pool))
    some = None if weights is None else weights[rows]
    if names and (some is None or np.any(some)):
        columns, theirs = pool.others.take(rows.tolist()), real.others.take(_some(len(real)).tolist())
        for name in names:
            values = [row.get(name) for row in columns]
            of_theirs = [row.get(name) for row in theirs] if name in real.others.names else None
            plain = all(isinstance(value, str | int) or value is None for value in values)
            if name == group or (plain and len(set(values)) <= min(_MOST_VALUES, len(values) // 4)):
                found.append(kinds_by(name, values, some, of_theirs))
            elif (fifths := ranges(values, of_theirs or values)) is not None:
                found.append(kinds_by(name, fifths, some, of_theirs and ranges(of_theirs, of_theirs)))
    return tuple(kinds for kinds in found if kinds is not None)


def _combined(table: Table) -> list[str]:
    return [label or "(none)" for label in table.labels or []]


def _some(rows: int) -> np.ndarray:
    return evenly_spaced(rows, _COLUMN_ROWS)


def distance_of(
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
        rows=f"{counted:,} real rows; “weighted” by cross-validation, on rows left out of the fit"
        + (f"; labels of a single real row are left out ({left_out:,})" if left_out else ""),
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
    others = pool.others.take(shown.tolist())
    return tuple(
        SyntheticRow(
            text=pool.texts[int(i)],
            label="" if pool.labels is None else pool.labels[i],
            weight=float(weights[i] / even),
            chosen=i in kept,
            demonstrations=(),
            attributes={name: str(value)[:_CELL] for name, value in list(own.items())[:_COLUMNS]},
            nearest_text=f"row {nearest}" if real.texts is None else real.texts[int(nearest)],
            nearest_distance=float(far),
            model="",
            labels=None if pool.label_sets is None else pool.label_sets[i],
        )
        for i, nearest, far, own in zip(
            shown.tolist(), index.tolist(), distance.tolist(), others, strict=True
        )
    )
