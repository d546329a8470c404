"""The report of `synalign align`: how near the pool came to the real rows, in pictures and with its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synalign_jax.api import pool_report
from synalign_jax.evaluation.report.facts import ReportFacts, Use
from synalign_jax.evaluation.report.kinds import weights_shown
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.pipeline.data.remote import is_remote
from synalign_jax.pipeline.stages.report_parts import went_in

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.mixing.mixture import Mixture

    from .pool_rows import Pair


def pool_facts(
    found: Alignment,
    mixture: Mixture,
    pair: Pair,
    drawn: np.ndarray,
    key: PRNGKeyArray,
    *,
    place: str,
    resampled: str,
    group: str | None,
) -> ReportFacts:
    """What is to be said of an aligned pool, settings and stages aside.

    Args:
        found: the alignment.
        mixture: what the rows count for in training. Pictures of a pool that is not worth using show the
            alignment.
        pair: real rows and pool, with their vectors.
        drawn: positions of the resampled rows in the pool.
        key: decides the splits of the real rows behind the noise band.
        place, resampled: where the results go, and the name of the file of drawn rows.
        group: a column of the pool that says what a row comes from.
    """
    shown, note = weights_shown(np.asarray(mixture.weights), np.asarray(found.weights))
    facts = pool_report.pool_facts(
        pair.real,
        pair.pool,
        (pair.real_vectors, pair.pool_vectors),
        shown,
        drawn,
        key,
        found=found,
        labels=pair.labels[0],
        copies=pair.copies,
        group=group,
    )
    return replace(
        facts,
        went_in=tuple(went_in(side.plain()) for side in pair.intake),
        weights_note=note,
        worth=worth_facts(mixture.summary()),
        use=_use(place.rstrip("/"), resampled, bool(mixture.weights.any()), pair.labels[0] is not None),
    )


def _use(place: str, resampled: str, worth: bool, labelled: bool) -> Use:
    files = (
        (
            f"{place}/weights.npy",
            "what each row of the pool counts for in training, each real row counting 1",
        ),
        (f"{place}/{resampled}", "rows drawn by their weights, to be used without weights"),
        (
            f"{place}/distribution.npy",
            "weights that bring the pool nearest to the real rows; they sum to 1",
        ),
        (f"{place}/mixture.json", "what was tried, and why this was chosen"),
        (f"{place}/alignment.json", "the distances and the solver's numbers, of each label too"),
    )
    if not worth:
        return Use(files)
    file = f"{place}/weights.npy"
    opening = f"fsspec.open({file!r}).open()" if is_remote(place) else repr(file)
    lines = [
        *(["import fsspec"] if is_remote(place) else []),
        "import numpy as np",
        f"weights = np.load({opening})    # one a row of the pool's file, in its order",
        "sample_weight = np.concatenate([np.ones(len(real)), weights])",
    ]
    if labelled:
        lines.append("model.fit(real + pool, real_labels + pool_labels, sample_weight=sample_weight)")
    return Use(files, "\n".join(lines))
