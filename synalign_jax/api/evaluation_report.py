"""The report of an evaluation: any pool beside any real rows, with weights or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from synalign_jax.evaluation.report.facts import Distance, Kind, Kinds, ReportFacts
from synalign_jax.evaluation.result import Distances, Evaluation, Share
from synalign_jax.pipeline.data.intake import Intake
from synalign_jax.pipeline.data.table import Table
from synalign_jax.pipeline.stages.report_parts import went_in

from .pool_report import pool_facts


def evaluation_facts(
    found: Evaluation,
    real: Table,
    pool: Table,
    vectors: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray | None,
    intake: Sequence[Intake],
    key: Any,
) -> ReportFacts:
    """What `evaluate` found, and what any pool beside real rows is told by.

    Args:
        found: what `evaluate` found of these rows.
        real, pool, vectors: the rows, and (n, d) and (m, d) vectors of both.
        weights: (m,) as given; None shows the pool as it is.
        intake: what is to be said of every file.
        key: as `pool_facts` takes it.
    """
    facts = pool_facts(real, pool, vectors, weights, np.zeros(0, int), key)
    named = {own.name for own in facts.kinds}
    judged = {score.name for compared in found.students.values() for score in compared.scores}
    return replace(
        facts,
        title="A pool, evaluated",
        warnings=found.notes,
        went_in=tuple(went_in(side.plain()) for side in intake),
        distance=_distance(found.distances),
        measures=found.measures,
        students=found.students,
        judged=tuple(judged),
        kinds=(*facts.kinds, *(own for own in _shared(found.shares) if own.name not in named)),
    )


def _distance(found: Distances | None) -> Distance | None:
    if found is None:
        return None
    band = found.weighted_band or found.band
    return Distance(found.pool, found.weighted, band, found.rows)


def _shared(shares: Sequence[Share]) -> list[Kinds]:
    """The shares that were asked for by column, those of one column together."""
    return [
        Kinds(name, tuple(Kind(own.value, own.real, own.pool, own.weighted) for own in group))
        for name, group in groupby(shares, key=lambda share: share.attribute)
    ]
