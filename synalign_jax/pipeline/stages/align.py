"""Stage align: real and synthetic vectors in, a weight for every synthetic row out.

Writes `weights` (of the rows as training rows: each real row counts 1), `distribution` (those that match the
distribution alone: they sum to 1), `alignment` (what the solver found) and `mixture` (what was chosen, why).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray
from msgspec import to_builtins

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint
from synalign_jax.mixing.mix import FEWEST, Select, mix, unjudged
from synalign_jax.mixing.mixture import Mixture
from synalign_jax.pipeline.checkpoint import FileCheckpoint, fingerprint
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.data.columns import Nature
from synalign_jax.pipeline.data.values import labels_in
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.progress import Steps
from synalign_jax.pipeline.seeds import key
from synalign_jax.pipeline.tools import Tools

from .load import UNLABELLED, fields_in
from .sorted_rows import sorted_rows

_ROWS = Nature("rows")


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Weights that bring the synthetic rows of a label nearest to its real rows (SynAlign, section 3.3), and
    those with which a student gains most from them.
    """
    real_labels = view.read_column("few_shot", "label")
    made_labels = view.read_column("synthetic", "label", coded=True)
    labelled, present = set(real_labels) != {UNLABELLED}, set(made_labels)
    real, made = np.asarray(view.read_array("real_vectors")), view.rows_on_disk("synthetic_vectors")
    settings = (config.run.seed, config.align.regularization, config.align.spectral_power)
    kept = FileCheckpoint(
        view.root / ".align.unfinished", fingerprint(settings, real, made, real_labels, made_labels)
    )
    found, heard = weigh(
        real,
        made,
        Steps(tools.reporter, "align"),
        checkpoint=kept,
        key=key(config.run.seed, "align"),
        real_labels=real_labels if labelled else None,
        synthetic_labels=made_labels if labelled else None,
        # A label without a row, where the budget ended early, leaves its share to the others.
        label_proportions=Counter(label for label in real_labels if label in present) if labelled else None,
        regularization=config.align.regularization,
        spectral_power=config.align.spectral_power,
    )
    for warning in heard:
        view.warn(f"align: {warning}")
    if not found.converged:
        view.warn(f"the weights are not at their optimum: {found.status}")
    rows = sorted_rows(view, config, tools, made)
    mixture, heard = mix_rows(
        found,
        real,
        rows.vectors,
        Steps(tools.reporter, "mix"),
        key=key(config.run.seed, "mix"),
        labels=(_judged_by(real_labels, config) if labelled else None, _judged_by(rows.labels, config)),
        groups=rows.groups,
        judge=config.align.weights == "student",
        nature=fields_in(view).nature,
        select=partial(rows.selected, config, real, real_labels),
        checkpoint=kept.further(
            "mix", to_builtins(config.judge), rows.vectors[rows.kept :], rows.labels, rows.groups
        ),
    )
    mixture = replace(mixture, weights=mixture.weights[: rows.kept])
    for warning in heard:
        view.warn(f"mix: {warning}")
    view.write_array("weights", np.asarray(mixture.weights, np.float64))
    view.write_array("distribution", np.asarray(found.weights, np.float64))
    view.write_json("alignment", found.summary())
    view.write_json("mixture", mixture.summary())
    kept.clear()
    view.facts.update(
        rows=len(made_labels),
        effective_rows=round(float(found.ess), 1),
        mmd2_before=found.mmd2_before,
        mmd2_after=found.mmd2_after,
        gap=found.gap,
        decision=mixture.verdict.decision,
        share=round(mixture.share, 3),
    )


def _judged_by(labels: list[str], config: Config) -> Sequence[Any]:
    """What a student learns of each row: its label, or the set of its labels, each a task of its own."""
    return [labels_in(label) for label in labels] if config.data.multi_label else labels


def weigh(real: np.ndarray, synthetic: Any, steps: Steps, **settings: Any) -> tuple[Alignment, list[str]]:
    """`align` with a bar for each piece of its work, and the warnings that it gave."""
    with steps, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        found = align(real, synthetic, on_progress=steps, **settings)
    return found, [str(warning.message) for warning in heard]


def mix_rows(
    found: Alignment,
    real: np.ndarray,
    synthetic: Any,
    steps: Steps,
    *,
    key: PRNGKeyArray,
    labels: tuple[Sequence[Any] | None, Sequence[Any] | None],
    judge: bool = True,
    groups: Sequence[Any] | None = None,
    nature: Nature = _ROWS,
    select: Select | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> tuple[Mixture, list[str]]:
    """`mix` with a bar for each piece of its work, and the warnings that it gave.

    Without labels, or where they are too few to judge a student, the weights are those of `found`.

    Args:
        labels: of the real and the synthetic rows; None where they have none.
        judge: whether a student is wanted at all.
        nature: what the rows are called where none judges them.
    """
    (real_labels, synthetic_labels), why = labels, ""
    if not judge:
        why = "weights that match the distribution were asked for, and no student"
    elif real_labels is None or synthetic_labels is None:
        why = "they have no labels, and the students that judge here learn labels"
    elif len(real_labels) < FEWEST:
        why = f"{len(real_labels)} real rows are too few to hold some of them out"
    elif len(set(map(str, real_labels))) < 2:
        why = "all real rows have one label, and the students that judge here tell labels apart"
    if why or real_labels is None or synthetic_labels is None:
        return unjudged(found.weights, len(real), why=why, **nature._asdict()), []
    with steps, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        mixture = mix(
            real,
            real_labels,
            synthetic,
            synthetic_labels,
            key=key,
            groups=groups,
            select=select,
            on_progress=steps,
            checkpoint=checkpoint,
        )
    return mixture, [str(warning.message) for warning in heard]
