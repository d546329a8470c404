"""Stage report: what the stages left, told on one HTML page; and the short table that ends a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq

from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.figures import (
    coverage_figure,
    plane_figures,
    weight_figure,
)
from synalign_jax.evaluation.metrics import Comparison
from synalign_jax.evaluation.report import render_report, rows_shown
from synalign_jax.evaluation.report.by_model import by_model
from synalign_jax.evaluation.report.facts import (
    Distance,
    Figure,
    LLMUsage,
    ModelRows,
    ReportFacts,
    Stage,
    SyntheticRow,
    WentIn,
)
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.llm.ledger import Ledger
from synalign_jax.pipeline.asking.endpoints import shares_of
from synalign_jax.pipeline.config import Config, Llm
from synalign_jax.pipeline.data.intake import Intake
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.tools import Tools

from .evaluate import JUDGED

_POINTS_SEED = 0
_LLM_STAGES = ("reason", "generate")
_CODE = """import json
rows = [json.loads(line) for line in open("weighted.jsonl", encoding="utf-8")]
texts = real_texts + [row["text"] for row in rows]
labels = real_labels + [row["label"] for row in rows]
sample_weight = [1.0] * len(real_texts) + [row["weight"] for row in rows]"""


def run(view: StageView, config: Config, tools: Tools, records: Sequence[dict[str, Any]]) -> None:
    """Write `report.html`."""
    evaluation = view.read_json("evaluation")
    alignment = view.read_json("alignment")
    weights = np.asarray(view.read_array("weights"))
    # Pictures of rows that are not worth using show what brings them nearest to the real ones.
    shown = weights if weights.any() else np.asarray(view.read_array("distribution"))
    weighted = view.read_rows("weighted")
    chosen = {row["index"] for row in view.read_rows("aligned")}
    students = msgspec.convert(evaluation["students"], Comparison) if "students" in evaluation else None
    facts = ReportFacts(
        title=config.report.title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=f"synalign report {view.root}",
        went_in=_went_in(config, records),
        settings=_settings(config),
        stages=tuple(
            Stage(record["stage"], record["facts"].get("rows"), record["seconds"]) for record in records
        ),
        distance=_distance(evaluation),
        effective_rows=alignment["ess"],
        pool_rows=len(weighted),
        students=students,
        judged=JUDGED if students is not None else (),
        losses=next((r["facts"]["rejected"] for r in records if r["stage"] == "generate"), {}),
        usage=_usage(view, config, records),
        models=by_model([row["model"] for row in weighted], shown),
        warnings=tuple(text for record in records for text in record["warnings"]),
        figures=_figures(view, shown, sorted(chosen)),
        rows=_rows(view, weighted, shown, chosen, config.report.rows),
        worth=worth_facts(view.read_json("mixture"), _CODE),
    )
    view.write_text("report", ".html", render_report(facts))


def _went_in(config: Config, records: Sequence[dict[str, Any]]) -> tuple[WentIn, ...]:
    facts = {record["stage"]: record["facts"] for record in records}
    loaded, made = facts.get("load"), facts.get("generate")
    if loaded is None or made is None:
        return ()
    columns = {"text": config.data.text} | ({"label": config.data.label} if config.data.label else {})
    sides = (
        (
            "real rows shown",
            loaded["source"],
            loaded["few_shot"],
            loaded["real_rows"],
            columns,
            loaded["labels"],
        ),
        ("rows written", ", ".join(_writers(config)), made["rows"], made["rows"], {}, made["labels"]),
    )
    return tuple(
        went_in(
            Intake(
                role,
                str(files),
                rows,
                of,
                named,
                {label: count for label, count in labels.items() if label},
                f"texts embedded by {config.encoder.model}",
            ).plain()
        )
        for role, files, rows, of, named, labels in sides
    )


def _writers(config: Config) -> list[str]:
    return [(config.llm if n == "llm" else config.llms[n]).model for n in shares_of(config.generate.llm)]


def _used(config: Config) -> list[Llm]:
    """The endpoints that the run asks, in the order of the stages."""
    names = dict.fromkeys([config.reason.llm or "llm", *shares_of(config.generate.llm)])
    judge = config.judge.endpoint if config.judge.llm else None
    return [config.llm if n == "llm" else config.llms[n] for n in names] + ([judge] if judge else [])


def went_in(side: Mapping[str, Any]) -> WentIn:
    """An `Intake`'s plain values, as the report shows them."""
    intake = Intake(**side)
    columns = ", ".join(f"{part}: {value}" for part, value in intake.columns.items())
    return WentIn(
        intake.role,
        intake.files,
        intake.rows,
        intake.in_files,
        columns,
        intake.counted(),
        intake.vectors,
        tuple(intake.remarks),
    )


def _distance(evaluation: dict[str, Any]) -> Distance | None:
    if "mmd2" not in evaluation:
        return None
    mmd2 = evaluation["mmd2"]
    low, _, high = mmd2["real_band"]
    rows = f"{evaluation['test_rows']:,} held-out real rows"
    return Distance(mmd2["before"], mmd2["after"], (low, high), rows)


def _settings(config: Config) -> dict[str, Any]:
    """Every setting as section.name. A config holds no key, only the name of its variable."""
    plain = msgspec.to_builtins(config)
    return {f"{section}.{name}": value for section, values in plain.items() for name, value in values.items()}


def _usage(view: StageView, config: Config, records: Sequence[dict[str, Any]]) -> LLMUsage:
    with Ledger(view.ledger_path) as ledger:
        summary = ledger.summary()
    used = _used(config)
    return LLMUsage(
        model=", ".join(dict.fromkeys(llm.model for llm in used)),
        endpoint=", ".join(dict.fromkeys(llm.base_url or llm.kind for llm in used)),
        requests=summary.answered + summary.dead,
        failed=summary.dead,
        prompt_tokens=summary.usage.prompt_tokens,
        completion_tokens=summary.usage.completion_tokens,
        seconds=sum(record["seconds"] for record in records if record["stage"] in _LLM_STAGES),
    )


def _figures(view: StageView, weights: np.ndarray, chosen: list[int]) -> tuple[Figure, ...]:
    real = np.asarray(view.read_array("real_vectors"))
    made = np.asarray(view.read_array("synthetic_vectors"))
    after_rows = made[chosen] if chosen else made[np.flatnonzero(weights)]
    before, after, share = plane_figures(real, made, after_rows, seed=_POINTS_SEED)
    figures = [
        Figure(
            "Where the rows lie",
            f"Each point is a text; the plane holds {share:.0%} of the variance of the embeddings."
            " Equally many synthetic points are drawn on both sides.",
            (("as generated", before), ("after alignment", after)),
        )
    ]
    figures.append(
        Figure(
            "Weights",
            "How many synthetic rows have which weight; 1 is the even weight.",
            (("", weight_figure(weights)),),
        )
    )
    coverage = view.read_json("coverage")
    curves = {"GP": coverage["hull"], "random": np.array(coverage["hull_random"]).T}
    figures.append(
        Figure(
            "What the demonstrations cover",
            "Share of the few-shot rows' convex hull (first two principal components) that the rows shown to"
            " the LLM span, round by round, beside equally many random rows.",
            (("", coverage_figure(curves)),),
        )
    )
    return tuple(figures)


def _rows(
    view: StageView, weighted: list[dict[str, Any]], weights: np.ndarray, chosen: set[int], most: int
) -> tuple[SyntheticRow, ...]:
    texts = [row["text"] for row in view.read_rows("few_shot")]
    even = weights.sum() / len(weights)
    return tuple(
        SyntheticRow(
            text=weighted[i]["text"],
            label=weighted[i]["label"],
            weight=float(weights[i] / even),
            chosen=i in chosen,
            demonstrations=tuple(texts[j] for j in weighted[i]["demonstrations"]),
            attributes=json.loads(weighted[i]["attributes"]),
            nearest_text=texts[weighted[i]["nearest_real"]],
            nearest_distance=weighted[i]["nearest_distance"],
            model=weighted[i]["model"],
        )
        for i in rows_shown(weights, most).tolist()
    )


def models_of(folder: Path) -> tuple[ModelRows, ...]:
    """Rows and weights of a finished run by model; of the distribution where no rows are worth using."""
    rows = pq.read_table(folder / "weighted.parquet", columns=["model", "weight", "distribution"])
    weights, distribution = (rows[name].to_numpy().astype(np.float64) for name in ("weight", "distribution"))
    return by_model(rows["model"].to_pylist(), weights if weights.any() else distribution)


def summary(folder: Path) -> str:
    """The short table at the end of a run, as plain text."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    mixture = json.loads((folder / "mixture.json").read_text(encoding="utf-8"))
    lines = ["", mixture["verdict"], ""]
    if "mmd2" in evaluation:
        mmd2 = evaluation["mmd2"]
        low, _, high = mmd2["real_band"]
        resampled = "none drawn" if mmd2["resampled"] is None else f"{mmd2['resampled']:.5f}"
        lines += [
            f"MMD² to {evaluation['test_rows']:,} held-out real rows",
            f"  synthetic as generated   {mmd2['before']:.5f}",
            f"  weighted                 {mmd2['after']:.5f}",
            f"  resampled                {resampled}",
            f"  real rows themselves     {low:.5f} to {high:.5f}   (5 % to 95 % of random splits)",
        ]
    if "students" in evaluation:
        lines += ["", f"{'student trained on':<24} {'rows':>6}   {'accuracy (95 %)':<24} macro-F1"]
        for score in evaluation["students"]["scores"]:
            accuracy, f1 = score["accuracy"], score["macro_f1"]
            interval = f"{accuracy['value']:.3f} ({accuracy['lower']:.3f} to {accuracy['upper']:.3f})"
            lines.append(f"{score['name']:<24} {score['rows']:>6}   {interval:<24} {f1['value']:.3f}")
    if len(models := models_of(folder)) > 1:
        lines += ["", f"{'model':<32} {'rows':>6} {'mean weight':>12} {'share of weights':>17}"]
        lines += [
            f"{readable(one.model)[:32]:<32} {one.rows:>6} {one.weight:>11.2f}x {one.weight_share:>17.1%}"
            for one in models
        ]
    return "\n".join(lines)
