"""Stage align: real and synthetic vectors in, a weight for every synthetic row out.

Writes `weights` (float64, they sum to 1) and `alignment` (what the solver found).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.progress import Steps
from synalign_jax.pipeline.seeds import key
from synalign_jax.pipeline.tools import Tools

from .load import UNLABELLED


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Weights that bring the synthetic rows of a label nearest to its real rows (SynAlign, section 3.3)."""
    real_labels = [row["label"] for row in view.read_rows("few_shot")]
    made_labels = [row["label"] for row in view.read_rows("synthetic")]
    labelled = set(real_labels) != {UNLABELLED}
    found, heard = weigh(
        np.asarray(view.read_array("real_vectors")),
        np.asarray(view.read_array("synthetic_vectors")),
        Steps(tools.reporter, "align"),
        key=key(config.run.seed, "align"),
        real_labels=real_labels if labelled else None,
        synthetic_labels=made_labels if labelled else None,
        regularization=config.align.regularization,
        spectral_power=config.align.spectral_power,
    )
    for warning in heard:
        view.warn(f"align: {warning}")
    if not found.converged:
        view.warn(f"the weights are not at their optimum: {found.status}")
    view.write_array("weights", np.asarray(found.weights, np.float64))
    view.write_json("alignment", found.summary())
    view.facts.update(
        rows=len(made_labels),
        effective_rows=round(float(found.ess), 1),
        mmd2_before=found.mmd2_before,
        mmd2_after=found.mmd2_after,
        gap=found.gap,
    )


def weigh(
    real: np.ndarray, synthetic: np.ndarray, steps: Steps, **settings: Any
) -> tuple[Alignment, list[str]]:
    """`align` with a bar for each piece of its work, and the warnings that it gave."""
    with steps, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        found = align(real, synthetic, on_progress=steps, **settings)
    return found, [str(warning.message) for warning in heard]
