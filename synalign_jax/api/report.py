"""The HTML report for people who have arrays or files, and no run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.checks import InputError, check_prng_key, check_rows, check_weights
from synalign_jax.core.resample import resample
from synalign_jax.evaluation.report import write_report
from synalign_jax.evaluation.report.facts import Use, WentIn
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.mixing.mixture import Mixture
from synalign_jax.pipeline.data.intake import intake_of
from synalign_jax.pipeline.data.table import Table
from synalign_jax.pipeline.data.tables import read_table
from synalign_jax.pipeline.stages.report_parts import went_in

from .pool_report import pool_facts, unmeasured


def report(
    real: Any,
    pool: Any,
    weights: Any = None,
    *,
    key: Any,
    out: str | os.PathLike[str] = "report.html",
    real_labels: Sequence[Any] | None = None,
    pool_labels: Sequence[Any] | None = None,
    real_texts: Sequence[str] | None = None,
    pool_texts: Sequence[str] | None = None,
    title: str = "Aligned pool",
) -> Path:
    """Write the report of a pool beside real rows: where the rows lie, weights, rows and the distance.

    Args:
        real: (n, width) embeddings of the real rows, or the path of a file that holds such ("embedding"
            column, or .npy); labels and texts then come from the file too.
        pool: (m, width) of the synthetic rows, or a file.
        weights: of the pool's rows: the `Alignment` that `align` returned; the `Mixture` of `mix`, whose
            verdict is then told; (m,) numbers from elsewhere; or None, and the pool is aligned here. The
            distance is judged only for alignments, which say how near the weights come on real rows left out
            of their fit: `sa.evaluate` judges any weights.
        key: decides folds, draws and splits.
        out: the HTML file; it appears whole or not at all.
        real_labels, pool_labels: (n,) and (m,), both or neither.
        real_texts, pool_texts: (n,) and (m,); the rows of the pool are listed where it has texts.
        title: of the page.

    Returns:
        the path of the report.

    Raises:
        InputError: bad rows, weights, labels or texts (row or column is named); no folder for `out`.
        DataError: a file that cannot be used.

    Example:
        ```python
        found = sa.align(real, pool, key=jax.random.key(0))
        path = sa.report(real, pool, found, key=jax.random.key(1), out="report.html")
        ```
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise InputError(f"out: there is no folder {target.parent}")
    real_table = _table("real", real, real_texts, real_labels)
    pool_table = _table("pool", pool, pool_texts, pool_labels)
    vectors = np.asarray(real_table.embeddings), np.asarray(pool_table.embeddings)
    check_prng_key(key)
    check_rows("real", vectors[0])
    check_rows("pool", vectors[1], width=vectors[0].shape[1])
    if (real_table.labels is None) != (pool_table.labels is None):
        lacking = "real" if real_table.labels is None else "pool"
        raise InputError(f"{lacking}_labels: missing, yet the other rows have labels; give both or neither")
    align_key, draw_key, report_key = jax.random.split(key, 3)
    mixture = weights if isinstance(weights, Mixture) else None
    if mixture is not None and len(mixture.weights) != len(vectors[1]):
        raise InputError(f"weights: the mixture has {len(mixture.weights)}, the pool {len(vectors[1])} rows")
    # Pictures of a pool that is not worth using show what would bring it nearest to the real rows.
    if weights is None or (mixture is not None and not mixture.weights.any()):
        weights = align(
            *vectors, key=align_key, real_labels=real_table.labels, synthetic_labels=pool_table.labels
        )
    found = weights if isinstance(weights, Alignment) else None
    plain = np.asarray(weights.weights if isinstance(weights, Alignment | Mixture) else weights, np.float64)
    check_weights("weights", plain, len(vectors[1]))
    share = plain / plain.sum()
    size = max(1, min(round(1.0 / float(np.sum(share**2))), int(np.count_nonzero(share))))
    drawn = np.sort(
        resample(share, size, key=draw_key, embeddings=vectors[1], labels=pool_table.labels, distinct=True)
    )
    facts = pool_facts(
        real_table, pool_table, vectors, plain, drawn, report_key, found=found, labels=real_table.labels
    )
    notes = (_NOT_JUDGED,) if found is None else tuple(unmeasured(found))
    facts = replace(
        facts,
        title=title,
        warnings=notes,
        went_in=(_went_in("real rows", real_table), _went_in("synthetic rows", pool_table)),
        worth=None if mixture is None else worth_facts(mixture.summary()),
        use=Use() if mixture is None or not mixture.weights.any() else Use((), _CODE),
    )
    return write_report(facts, target)


_CODE = """sample_weight = np.concatenate([np.ones(len(real)), mixture.weights])
model.fit(np.concatenate([real, pool]), real_labels + pool_labels, sample_weight=sample_weight)"""

_NOT_JUDGED = (
    "how near the weighted rows come to the real ones is not judged here, since nothing says which real rows"
    " the weights have seen"
)


def _table(name: str, rows: Any, texts: Sequence[str] | None, labels: Sequence[Any] | None) -> Table:
    if isinstance(rows, str | os.PathLike):
        table = read_table(Path(rows))
        if table.embeddings is None:
            raise InputError(
                f"{name}: {os.fspath(rows)} holds no vectors (column 'embedding'); 'synalign embed' makes"
                " them, and 'synalign align' takes files of texts as they are"
            )
    else:
        table = Table(None, None, np.asarray(rows))
    for what, values in (("texts", texts), ("labels", labels)):
        if values is not None:
            if len(values) != len(table):
                raise InputError(f"{name}_{what}: {len(values)} for {len(table)} rows; give one a row")
            table = replace(table, **{what: [str(value) for value in values]})
    return table


def _went_in(role: str, table: Table) -> WentIn:
    intake = intake_of(role, table)
    if not table.files:
        rows, width = np.asarray(table.embeddings).shape
        intake = replace(intake, files=f"an array of {rows:,} x {width:,}", in_files=rows)
    return went_in(intake.plain())
