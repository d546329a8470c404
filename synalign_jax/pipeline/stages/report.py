"""Stage report: what the stages left, told on one HTML page; and the short table that ends a run."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.figures import coverage_figure, length_figure
from synalign_jax.evaluation.report.by_model import by_model
from synalign_jax.evaluation.report.facts import (
    Figure,
    Kinds,
    LLMUsage,
    ModelRows,
    Prompt,
    ReportFacts,
    Stage,
    SyntheticRow,
    Use,
    WentIn,
)
from synalign_jax.evaluation.report.kinds import (
    attribute_kinds,
    kinds_by,
    kinds_of_sets,
    weights_facts,
    weights_shown,
    word_kinds,
)
from synalign_jax.evaluation.report.maps import maps_of
from synalign_jax.evaluation.report.numbers import distance_lines
from synalign_jax.evaluation.report.page import render_report, rows_shown
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.evaluation.scores import Comparison
from synalign_jax.llm.ledger import Ledger
from synalign_jax.pipeline.asking.endpoints import shares_of
from synalign_jax.pipeline.config import Config, Llm, endpoints_of, model_name
from synalign_jax.pipeline.data.copies import find_copies
from synalign_jax.pipeline.data.intake import Intake
from synalign_jax.pipeline.data.values import SEPARATOR, labels_in
from synalign_jax.pipeline.folder import StageView, values_of
from synalign_jax.pipeline.tools import Tools

from .evaluate import JUDGED
from .load import UNLABELLED
from .report_parts import copies_of, course_of, distance_of, prompts_of, went_in

_LLM_STAGES = ("reason", "generate")
_CODED = ("label", "model", "attributes", "prompt_hash")
_READ = (*_CODED, "text", "demonstrations", "nearest_real", "nearest_distance")
_MOST_COMPARED = 200_000  # rows among which copies are looked for


def run(view: StageView, config: Config, tools: Tools, records: Sequence[dict[str, Any]]) -> None:
    """Write `report.html`."""
    evaluation = view.read_json("evaluation")
    weights = np.asarray(view.read_array("weights"))
    shown, note = weights_shown(weights, np.asarray(view.read_array("distribution")))
    real = view.read_rows("few_shot")
    weighted = view.read_table("weighted", _READ, coded=_CODED)
    if config.data.multi_label:  # lists of them there
        joined = pc.call_function("binary_join", [weighted["label"], pa.scalar(SEPARATOR)])
        weighted = weighted.set_column(weighted.schema.get_field_index("label"), "label", joined)
    texts, real_texts = weighted["text"].to_pylist(), [row["text"] for row in real]
    vectors = np.asarray(view.read_array("real_vectors")), view.rows_on_disk("synthetic_vectors")
    chosen = set(view.read_column("aligned", "index"))
    students = {}
    if "students" in evaluation:
        students["linear"] = msgspec.convert(evaluation["students"], Comparison)
    copies, labelled = None, any(row["label"] != UNLABELLED for row in real)
    if len(texts) <= _MOST_COMPARED:
        labels = (values_of(weighted["label"]), [row["label"] for row in real]) if labelled else (None, None)
        found = find_copies((texts, np.asarray(vectors[1])), (real_texts, vectors[0]), labels=labels)
        copies = copies_of(found, texts, real_texts)
    maps, maps_note = maps_of(*vectors, shown, np.array(sorted(chosen), int))
    usage, prompts = _asked(view, config, records, weighted)
    facts = ReportFacts(
        title=config.report.title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=f"synalign report {view.root}",
        warnings=_warnings(records),
        went_in=_went_in(config, records),
        distance=distance_of(evaluation),
        worth=worth_facts(view.read_json("mixture")),
        use=_use(view.root, bool(weights.any()), labelled),
        students=students,
        judged=JUDGED if students else (),
        weights=weights_facts(shown),
        weights_note=note,
        kinds=_kinds(real, weighted, shown, labelled=labelled, multi_label=config.data.multi_label),
        lengths=length_figure(real_texts, texts, shown),
        words=word_kinds(texts, shown, real_texts),
        copies=copies,
        rows=_rows(real_texts, weighted, shown, chosen, config),
        maps=maps,
        maps_note=maps_note,
        usage=usage,
        models=by_model(values_of(weighted["model"]), shown),
        prompts=prompts,
        course=course_of(view.read_json("loop")),
        losses=next((r["facts"]["rejected"] for r in records if r["stage"] == "generate"), {}),
        making=_coverage(view),
        stages=tuple(
            Stage(record["stage"], record["facts"].get("rows"), record["seconds"]) for record in records
        ),
        settings=_settings(config),
    )
    view.write_text("report", ".html", render_report(facts))


def _warnings(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What the stages noted, but for what stands with the rows that went in."""
    told = {remark for record in records for remark in record["facts"].get("remarks", ())}
    return tuple(text for record in records for text in record["warnings"] if text not in told)


def _use(root: Path, worth: bool, labelled: bool) -> Use:
    files = (
        (
            str(root / "weighted.jsonl"),
            "every row that was made, with its weight beside real rows that count 1",
        ),
        (str(root / "aligned.jsonl"), "rows drawn by their weights, to be used without weights"),
        (str(root / "mixture.json"), "what was tried, and why this was chosen"),
    )
    if not worth:
        return Use(files)
    lines = [
        "import json",
        f'with open({str(root / "weighted.jsonl")!r}, encoding="utf-8") as file:',
        "    rows = [json.loads(line) for line in file]",
        'texts = real_texts + [row["text"] for row in rows]',
    ]
    if labelled:
        lines.append('labels = real_labels + [row["label"] for row in rows]')
    lines.append('sample_weight = [1.0] * len(real_texts) + [row["weight"] for row in rows]')
    return Use(files, "\n".join(lines))


def _kinds(
    real: list[dict[str, Any]], made: pa.Table, weights: np.ndarray, *, labelled: bool, multi_label: bool
) -> tuple[Kinds, ...]:
    found = []
    if labelled:
        labels, of_real = values_of(made["label"]), [row["label"] for row in real]
        if multi_label:
            sets, of_theirs = ([labels_in(label) for label in side] for side in (labels, of_real))
            found.append(kinds_of_sets("label", sets, weights, of_theirs))
            labels, of_real = ([label or "(none)" for label in side] for side in (labels, of_real))
        name = "combination of labels" if multi_label else "label"
        found.append(kinds_by(name, labels, weights, of_real))
    found.append(kinds_by("model", values_of(made["model"]), weights))
    found += attribute_kinds(list(map(functools.cache(json.loads), values_of(made["attributes"]))), weights)
    return tuple(kinds for kinds in found if kinds is not None)


def _went_in(config: Config, records: Sequence[dict[str, Any]]) -> tuple[WentIn, ...]:
    facts = {record["stage"]: record["facts"] for record in records}
    loaded, made = facts.get("load"), facts.get("generate")
    if loaded is None or made is None:
        return ()
    columns = {"text": loaded.get("text", config.data.text)}
    columns |= {"label": config.data.label} if config.data.label else {}
    sides = (
        (
            "real rows shown",
            loaded["source"],
            loaded["few_shot"],
            loaded["real_rows"],
            columns,
            loaded["labels"],
            tuple(loaded.get("remarks", ())),
        ),
        ("rows written", ", ".join(_writers(config)), made["rows"], made["rows"], {}, made["labels"], ()),
    )
    return tuple(
        went_in(
            Intake(
                role,
                str(files),
                rows,
                of,
                named,
                _counts(labels, several=config.data.multi_label),
                f"texts embedded by {config.encoder.model}",
                remarks,
            ).plain()
        )
        for role, files, rows, of, named, labels, remarks in sides
    )


def _counts(labels: Mapping[str, int], *, several: bool) -> dict[str, int]:
    """Rows of each label, of each of several in its own right."""
    counts: Counter[str] = Counter()
    for label, count in labels.items():
        for one in labels_in(label) if several else filter(None, (label,)):
            counts[one] += count
    return dict(counts)


def _writers(config: Config) -> list[str]:
    asked = [config.llm if n == "llm" else config.llms[n] for n in shares_of(config.generate.llm)]
    return [model_name(llm) for llm in asked]


def _used(config: Config) -> list[Llm]:
    """The endpoints that the run asks, in the order of the stages."""
    names = dict.fromkeys([config.reason.llm or "llm", *shares_of(config.generate.llm)])
    judge = config.judge.endpoint if config.judge.llm else None
    return [config.llm if n == "llm" else config.llms[n] for n in names] + ([judge] if judge else [])


def _settings(config: Config) -> dict[str, Any]:
    """Every setting as section.name. A config holds no key, only the name of its variable."""
    plain = msgspec.to_builtins(config)
    return {f"{section}.{name}": value for section, values in plain.items() for name, value in values.items()}


def _asked(
    view: StageView, config: Config, records: Sequence[dict[str, Any]], made: pa.Table
) -> tuple[LLMUsage, tuple[Prompt, ...]]:
    """What the LLM was asked in all, and one request of each kind."""
    reasons = view.read_rows("attributes")
    wanted = {row["prompt_hash"]: "A request for the attributes of real rows" for row in reasons[:1]}
    wanted |= dict.fromkeys(made["prompt_hash"][:1].to_pylist(), "A request for new rows")
    with Ledger(view.ledger_path) as ledger:
        summary, prompts = ledger.summary(), prompts_of(ledger, wanted)
    used = _used(config)
    usage = LLMUsage(
        model=", ".join(dict.fromkeys(map(model_name, used))),
        endpoint=", ".join(dict.fromkeys(llm.base_url or llm.kind for llm in used)),
        requests=summary.answered + summary.dead,
        failed=summary.dead,
        prompt_tokens=summary.usage.prompt_tokens,
        completion_tokens=summary.usage.completion_tokens,
        seconds=sum(record["seconds"] for record in records if record["stage"] in _LLM_STAGES),
        cost=summary.cost if any(llm.prices is not None for llm in endpoints_of(config)) else None,
    )
    return usage, prompts


def _coverage(view: StageView) -> tuple[Figure, ...]:
    coverage = view.read_json("coverage")
    curves = {"GP": coverage["hull"], "random": np.array(coverage["hull_random"]).T}
    return (
        Figure(
            "What the demonstrations cover",
            "Share of the few-shot rows' convex hull (first two principal components) that the rows shown to"
            " the LLM span, round by round, beside equally many random rows.",
            (("", coverage_figure(curves)),),
        ),
    )


def _rows(
    texts: list[str], weighted: pa.Table, weights: np.ndarray, chosen: set[int], config: Config
) -> tuple[SyntheticRow, ...]:
    even, rows = weights.sum() / len(weights), rows_shown(weights, config.report.rows)
    return tuple(
        SyntheticRow(
            text=row["text"],
            label=row["label"],
            weight=float(weights[i] / even),
            chosen=i in chosen,
            demonstrations=tuple(texts[j] for j in row["demonstrations"]),
            attributes=json.loads(row["attributes"]),
            nearest_text=texts[row["nearest_real"]],
            nearest_distance=row["nearest_distance"],
            model=row["model"],
            labels=labels_in(row["label"]) if config.data.multi_label else None,
        )
        for i, row in zip(rows.tolist(), weighted.take(rows).to_pylist(), strict=True)
    )


def models_of(folder: Path) -> tuple[ModelRows, ...]:
    """Rows and weights of a finished run by model; of the distribution where no rows are worth using."""
    rows = pq.read_table(folder / "weighted.parquet", columns=["model", "weight", "distribution"])
    weights, distribution = (rows[name].to_numpy().astype(np.float64) for name in ("weight", "distribution"))
    return by_model(rows["model"].to_pylist(), weights if weights.any() else distribution)


def summary(folder: Path) -> str:
    """The verdict and the short table at the end of a run, as plain text."""
    mixture = json.loads((folder / "mixture.json").read_text(encoding="utf-8"))
    return "\n".join(["", mixture["verdict"], "", numbers(folder)])


def numbers(folder: Path) -> str:
    """That table alone: the distance, the students, the models."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    lines = []
    if (distance := distance_of(evaluation)) is not None:
        lines += distance_lines(distance)
    if "students" in evaluation:
        several = any(score.get("micro_f1") for score in evaluation["students"]["scores"])
        head = f"{'student trained on':<24} {'rows':>6}   {'accuracy (95 %)':<24} macro-F1"
        lines += ["", head + ("   micro-F1" if several else "")]
        for score in evaluation["students"]["scores"]:
            accuracy, f1 = score["accuracy"], score["macro_f1"]
            interval = f"{accuracy['value']:.3f} ({accuracy['lower']:.3f} to {accuracy['upper']:.3f})"
            lines.append(f"{score['name']:<24} {score['rows']:>6}   {interval:<24} {f1['value']:.3f}")
            if several:
                lines[-1] += f"      {score['micro_f1']['value']:.3f}"
    if len(models := models_of(folder)) > 1:
        lines += ["", f"{'model':<32} {'rows':>6} {'mean weight':>12} {'share of weights':>17}"]
        lines += [
            f"{readable(one.model)[:32]:<32} {one.rows:>6} {one.weight:>11.2f}x {one.weight_share:>17.1%}"
            for one in models
        ]
    return "\n".join(lines)
