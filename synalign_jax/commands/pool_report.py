"""The report of `synalign align`: how near the pool came to the real rows, in pictures and with its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synalign_jax.api import pool_report
from synalign_jax.evaluation.report.facts import ReportFacts
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.pipeline.stages.report import went_in

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.mixing.mixture import Mixture

    from .pool_rows import Pair

_CODE = """import numpy as np
sample_weight = np.concatenate([np.ones(len(real)), np.load("weights.npy")])
model.fit(real + pool, real_labels + pool_labels, sample_weight=sample_weight)"""


def pool_facts(
    found: Alignment,
    mixture: Mixture,
    pair: Pair,
    drawn: np.ndarray,
    key: PRNGKeyArray,
) -> ReportFacts:
    """What is to be said of an aligned pool, settings and stages aside.

    Args:
        found: the alignment.
        mixture: what the rows count for in training. Pictures of a pool that is not worth using show the
            alignment.
        pair: real rows and pool, with their vectors.
        drawn: positions of the resampled rows in the pool.
        key: decides the splits of the real rows behind the noise band.
    """
    facts = pool_report.pool_facts(
        pair.real,
        pair.pool,
        (pair.real_vectors, pair.pool_vectors),
        mixture.weights if mixture.weights.any() else found.weights,
        drawn,
        key,
        found=found,
        labels=pair.labels[0],
    )
    return replace(
        facts,
        went_in=tuple(went_in(side.plain()) for side in pair.intake),
        worth=worth_facts(mixture.summary(), _CODE),
    )
