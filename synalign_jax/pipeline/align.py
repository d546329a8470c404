"""Stage align: real and synthetic vectors in, a weight for every synthetic row out.

Writes `weights` (float64, they sum to 1) and `alignment` (what the solver found).
"""

from __future__ import annotations

import warnings

import numpy as np

from synalign_jax.core.align import align

from .config import Config
from .folder import StageView
from .load import UNLABELLED
from .progress import Steps
from .seeds import key
from .tools import Tools


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Weights that bring the synthetic rows of a label nearest to its real rows (SynAlign, section 3.3)."""
    real_labels = [row["label"] for row in view.read_rows("few_shot")]
    made_labels = [row["label"] for row in view.read_rows("synthetic")]
    labelled = set(real_labels) != {UNLABELLED}
    with Steps(tools.reporter, "align") as steps, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        found = align(
            np.asarray(view.read_array("real_vectors")),
            np.asarray(view.read_array("synthetic_vectors")),
            key=key(config.run.seed, "align"),
            real_labels=real_labels if labelled else None,
            synthetic_labels=made_labels if labelled else None,
            regularization=config.align.regularization,
            spectral_power=config.align.spectral_power,
            on_progress=steps,
        )
    for warning in heard:
        view.warn(f"align: {warning.message}")
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
