"""Stage evaluate: did it work, judged on real rows that nothing before this has seen.

The only stage that reads `held_out`. Writes `evaluation`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from synalign_jax.core.align.distance import distance_to_real
from synalign_jax.core.align.problem import split
from synalign_jax.core.joined import JoinedRows
from synalign_jax.core.kernels import median_length_scale, rbf
from synalign_jax.core.mmd.splits import quadratic_forms
from synalign_jax.evaluation.metrics import TrainingSet, compare_training_sets
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.data.values import labels_in
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.seeds import generator, key
from synalign_jax.pipeline.tools import Tools

from .embed import vectors_of

JUDGED = ("synthetic aligned", "real + aligned")
"""The training sets that the report's verdict is about."""

_SPLITS = 500
_ALL_PAIRS = 32_768  # new rows up to which all pairs are summed


def run(view: StageView, config: Config, tools: Tools) -> None:
    """MMD^2 to held-out real rows before and after; students trained on each set (SynAlign, section 4)."""
    few_shot = view.read_rows("few_shot")
    made_labels = view.read_column("synthetic", "label", coded=True)
    held_out = view.read_rows("held_out")
    vectors = vectors_of(view, tools, [row["text"] for row in held_out], "evaluate: embed held-out rows")
    is_test = np.array([row["part"] == "test" for row in held_out])
    real = np.asarray(view.read_array("real_vectors"))
    made: Any = view.rows_on_disk("synthetic_vectors")
    if len(made) <= _ALL_PAIRS:
        made = np.asarray(made)
    weights = np.asarray(view.read_array("weights"), np.float64)
    distribution = np.asarray(view.read_array("distribution"), np.float64)
    chosen = view.read_column("aligned", "index")
    result: dict[str, Any] = {"test_rows": int(is_test.sum()), "few_shot": len(few_shot)}
    if is_test.any():
        result["mmd2"] = _distances(
            real, vectors[is_test], vectors[~is_test], made, distribution, chosen, config.run.seed
        )
    else:
        view.warn(
            "no real rows could be held out, so nothing can be evaluated; give more rows or [data] test"
        )
    of_row = _several if config.data.multi_label else list
    labels = {row["label"] for row in few_shot}
    if is_test.any() and len(labels) > 1:
        worth = (weights, distribution)
        sets = _training_sets(
            of_row([row["label"] for row in few_shot]),
            real,
            of_row(made_labels),
            made,
            worth,
            of_row([row["label"] for row in held_out if row["part"] != "test"]),
            vectors[~is_test],
        )
        with tools.reporter.bar("evaluate: train students", len(sets), "sets") as bar:
            comparison = compare_training_sets(
                sets,
                vectors[is_test],
                of_row([row["label"] for row in held_out if row["part"] == "test"]),
                key=key(config.run.seed, "evaluate"),
                seeds=config.evaluate.seeds,
                on_progress=bar.advance,
            )
        result["students"] = dataclasses.asdict(comparison)
    view.write_json("evaluation", result)
    if "mmd2" in result:
        band = result["mmd2"]["real_band"]
        view.facts.update(
            mmd2_before=result["mmd2"]["before"],
            mmd2_after=result["mmd2"]["after"],
            real_against_real=f"{band[0]:.4g} to {band[2]:.4g}",
        )


def _distances(
    real: np.ndarray,
    test: np.ndarray,
    rest: np.ndarray,
    made: Any,
    weights: np.ndarray,
    chosen: list[int],
    seed: int,
) -> dict[str, Any]:
    """MMD^2 to the test rows, and what real rows themselves score: random splits of all real rows.

    One kernel for all of them: RBF at the median distance of the few-shot rows.
    """
    scale = median_length_scale(real)
    counts = np.bincount(chosen, minlength=len(made))
    weighings = (np.full(len(made), 1.0 / len(made)), weights / weights.sum(), counts / max(1, len(chosen)))
    before, after, resampled = _to_test(test, made, weighings, scale, seed)

    known = np.concatenate([real, rest, test])
    rng = generator(seed, "band")
    splits = np.zeros((_SPLITS, len(known)))
    for of_split in splits:
        order = rng.permutation(len(known))
        of_split[order[: len(real)]] = 1.0 / len(real)
        of_split[order[len(real) : len(real) + len(test)]] = -1.0 / len(test)
    null = quadratic_forms(rbf(scale), known, splits)
    return {
        "length_scale": scale,
        "before": float(before),
        "after": float(after),
        "resampled": float(resampled) if chosen else None,
        "real_band": [float(q) for q in np.quantile(null, [0.05, 0.5, 0.95])],
    }


def _to_test(
    test: np.ndarray, made: Any, weighings: Sequence[np.ndarray], scale: float, seed: int
) -> list[float]:
    """MMD^2 to the test rows under each weighing; of very many rows estimated, as `align` does it."""
    if len(made) <= _ALL_PAIRS:
        differences = np.zeros((len(weighings), len(test) + len(made)))
        differences[:, : len(test)] = -1.0 / len(test)
        differences[:, len(test) :] = weighings
        return quadratic_forms(rbf(scale), np.concatenate([test, made]), differences).tolist()
    problem = split(test, made, None, None, None, rbf(scale), None)[0]
    return [
        distance_to_real(problem, own, key(seed, "distances", str(number))) if own.any() else 0.0
        for number, own in enumerate(weighings)
    ]


def _several(labels: Sequence[str]) -> list[Any]:
    return [labels_in(label) for label in labels]


def _training_sets(
    real_labels: list[Any],
    real: np.ndarray,
    made_labels: list[Any],
    made: Any,
    worth: tuple[np.ndarray, np.ndarray],
    rest_labels: list[Any],
    rest: np.ndarray,
) -> dict[str, TrainingSet]:
    weights, distribution = worth
    both, both_labels = JoinedRows([real, made]), real_labels + made_labels
    # Rows that are not worth using leave the real ones alone, and only their distribution can be shown.
    sets = {
        "few-shot real only": TrainingSet(real, real_labels),
        "synthetic as generated": TrainingSet(made, made_labels),
        "synthetic aligned": TrainingSet(made, made_labels, weights if weights.any() else distribution),
        "real + as generated": TrainingSet(both, both_labels),
        "real + aligned": TrainingSet(both, both_labels, np.concatenate([np.ones(len(real)), weights])),
    }
    if rest_labels:
        sets["all real rows"] = TrainingSet(np.concatenate([real, rest]), real_labels + rest_labels)
    return sets
