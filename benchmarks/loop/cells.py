"""One cell: a run of one task, seed and way of asking, as far as its rows, and what those are worth."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq

from benchmarks.study.students import Train, predict
from synalign_jax.api.wiring import tools_for
from synalign_jax.core.kernels import median_length_scale
from synalign_jax.mixing.mix import mix
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.data.columns import Columns
from synalign_jax.pipeline.data.sources import load_source
from synalign_jax.pipeline.folder import RunFolder
from synalign_jax.pipeline.loop.weights import Weigher
from synalign_jax.pipeline.run import STAGES, run_stages
from synalign_jax.text import EmbeddingCache, embed_texts
from synalign_jax.text.encoder import Encoder

_STRONG_TOKENS = 64


@dataclass(frozen=True)
class Task:
    """A set of real rows, and how a run asks for more of them: `calls` of `per_call` rows in all."""

    source: str
    reason: dict[str, Any]
    calls: int
    per_call: int
    rounds: int
    labels: list[str] | None = None
    context: int = 1024


TASKS = {
    "sst2-like": Task("rotten_tomatoes", {"preset": "sst2"}, 40, 5, 8),
    "reuters-r8": Task("reuters-r8", {"preset": "agnews"}, 32, 3, 2, context=2048),
    "20newsgroups": Task(
        "20newsgroups",
        {"preset": "agnews", "task": "posts from newsgroups"},
        32,
        3,
        4,
        ["comp.graphics", "rec.autos", "sci.med", "talk.politics.guns"],
        context=2048,
    ),
}


@dataclass(frozen=True)
class Arm:
    """A way of asking: what it has of the settings `[loop]` and `[judge]`."""

    loop: dict[str, Any] = field(default_factory=dict)
    judge: dict[str, Any] = field(default_factory=dict)


_OFF = {"demonstrations": "off", "attributes": False, "same_meaning": "off"}
ARMS = {
    "one-shot": Arm(_OFF, {"student": False}),
    "loop": Arm(),
    "without witness": Arm({"demonstrations": "variance"}),
    "without variance": Arm({"demonstrations": "witness"}),
    "without attribute weights": Arm({"attributes": False}),
    "with contrast": Arm({"contrast": True}),
    "without check": Arm({}, {"student": False}),
}


def settings(task: Task, arm: Arm, seed: int, folder: Path) -> Config:
    """Every call is made and none stops early, so that the ways are compared at equal calls."""
    return parse_config(
        {
            "run": {"folder": str(folder), "seed": seed},
            "data": {
                "source": task.source,
                "few_shot": 200,
                "test_rows": 1000,
                "ceiling_rows": 0,
                "labels": task.labels,
            },
            "llm": {
                "kind": "llamacpp",
                "model": "SmolLM2-135M-Instruct",
                "concurrency": 8,
                "context": task.context,
            },
            "explore": {"rounds": task.rounds},
            "reason": {"max_tokens": 80, **task.reason},
            "generate": {
                "rows": task.calls * task.per_call,
                "rows_per_call": task.per_call,
                "calls_factor": 1.0,
                "form": "list",
            },
            "loop": {"stop": False, **arm.loop},
            "judge": arm.judge,
        }
    )


def run(name: str, arm: str, seed: int, cache: Path) -> dict[str, Any]:
    """The cell's results: those that are kept, or new ones. A run that was stopped goes on."""
    folder = cache / f"{name}-{seed}-{arm.replace(' ', '-')}"
    kept = folder / "cell.json"
    if kept.exists():
        return json.loads(kept.read_text())
    config = settings(TASKS[name], ARMS[arm], seed, folder)
    names = [stage.name for stage in STAGES]
    with RunFolder(config) as opened:
        run_stages(opened, tools_for(config), STAGES[: names.index("embed_synthetic") + 1])
    found = {"task": name, "arm": arm, "seed": seed, **_measured(folder, TASKS[name], cache)}
    kept.write_text(json.dumps(found, indent=1))
    return found


def _measured(folder: Path, task: Task, cache: Path) -> dict[str, Any]:
    real, made, held = (rows_in(folder, table) for table in ("few_shot", "synthetic", "held_out"))
    test = [row for row in held if row["part"] == "test"]
    vectors, new = np.load(folder / "real_vectors.npy"), np.load(folder / "synthetic_vectors.npy")
    labels, of_new, of_test = ([row["label"] for row in rows] for rows in (real, made, test))
    encoder = Encoder.from_pretrained("all-MiniLM-L6-v2")
    tested = np.asarray(encoder.embed([row["text"] for row in test]))
    loop = json.loads((folder / "loop.json").read_text())
    scale = float(median_length_scale(vectors))
    curve = []
    for wave in loop["waves"]:
        rows = wave["rows"]
        if rows and (not curve or rows > curve[-1]["rows"]):
            weights = _weights(vectors, labels, new[:rows], of_new[:rows], scale)
            even = np.full(rows, 1.0 / rows)
            curve.append(
                {
                    "calls": wave["calls"],
                    "rows": rows,
                    "plain": _mmd2(new[:rows], even, tested, scale),
                    "weighted": _mmd2(new[:rows], weights, tested, scale),
                }
            )
    wrong, strong = _wrong_labels(task, made, test, cache)
    mixture = mix(vectors, labels, new, of_new, key=jax.random.key(0))
    both = np.concatenate([vectors, new]).astype(np.float32)
    both_labels = np.array(labels + of_new)
    accuracies = {}
    for what, weights in (
        ("real alone", np.zeros(len(new))),
        ("plain", np.ones(len(new))),
        ("mixed", mixture.weights),
    ):
        counted = np.concatenate([np.ones(len(vectors)), weights])
        train = Train(both, [], both_labels, counted)
        said = predict("linear", train, tested.astype(np.float32), [], 0)
        accuracies[what] = float(np.mean(said == np.array(of_test)))
    facts = json.loads((folder / "done" / "generate.json").read_text())
    return {
        "curve": curve,
        "calls": facts["facts"]["calls"],
        "rows": len(made),
        "rejected": facts["facts"]["rejected"],
        "student_check": facts["facts"].get("student_accuracy"),
        "wrong_labels": wrong,
        "strong_accuracy": strong,
        "accuracy": accuracies,
        "seconds": facts["seconds"],
    }


def rows_in(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def _weights(
    real: np.ndarray, labels: list[str], made: np.ndarray, of_made: list[str], scale: float
) -> np.ndarray:
    """The weights that the loop learns, each label with its share of the real rows."""
    picture = Weigher(real, labels, scale, 0).picture(made, of_made)
    weights = np.ones(len(made)) / len(made)
    for label in set(of_made):
        own = np.array(of_made) == label
        known = picture.labels.get(label) if picture is not None else None
        relative = known.relative if known is not None else np.ones(own.sum())
        weights[own] = relative / relative.sum() * np.mean(np.array(labels) == label)
    return weights / weights.sum()


def _mmd2(made: np.ndarray, weights: np.ndarray, test: np.ndarray, scale: float) -> float:
    def mean(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
        squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
        return float(a @ np.exp(-np.maximum(squares, 0) / (2 * scale**2)) @ b)

    even = np.full(len(test), 1.0 / len(test))
    return (
        mean(made, made, weights, weights)
        - 2 * mean(made, test, weights, even)
        + mean(test, test, even, even)
    )


def _wrong_labels(
    task: Task, made: list[dict[str, Any]], test: list[dict[str, Any]], cache: Path
) -> tuple[float, float]:
    """The share of new rows whose label a strong student of all other real rows does not name, and how often
    that names the label of test rows, which it has not seen.
    """
    texts = [row["text"] for row in made + test]
    right = named(task, texts, {row["text"] for row in test}, cache) == np.array(
        [row["label"] for row in made + test]
    )
    return float(1 - right[: len(made)].mean()), float(right[len(made) :].mean())


def named(task: Task, texts: list[str], without: set[str], cache: Path) -> np.ndarray:
    """The labels that a student of all the task's real rows but those `without` names for texts."""
    rows = load_source(task.source, Columns("text", "label")).rows
    known = [
        (text, label)
        for text, label in zip(rows.texts, rows.labels or [], strict=True)
        if text.strip() and text not in without and (task.labels is None or label in task.labels)
    ]
    encoder = Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=_STRONG_TOKENS)
    with EmbeddingCache(cache / "vectors") as vectors:
        real = embed_texts(encoder, [text for text, _ in known], cache=vectors).vectors
    train = Train(np.asarray(real), [], np.array([label for _, label in known]), np.ones(len(known)))
    return predict("linear", train, np.asarray(encoder.embed(texts)), [], 0)
