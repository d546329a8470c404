"""Stage resample: weighted rows in, the aligned set out.

Writes `aligned` (the rows drawn) and `weighted` (every row with its weight), for the user also as JSONL and
in the formats that are asked for.
`weight` is what the row counts for where each real row counts 1, `distribution` its share in the distribution
that is nearest to the real rows'. Rows that are not worth using have weight 0, and none of them is drawn.
Every row carries its nearest real row and the distance to it.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from synalign_jax.core.effective import effective_rows
from synalign_jax.core.resample import resample
from synalign_jax.pipeline.asking.quotas import quotas
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.data.values import SEPARATOR
from synalign_jax.pipeline.data.written import write_rows
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.seeds import key
from synalign_jax.pipeline.tools import Tools

from .generate import SYNTHETIC
from .load import UNLABELLED, fields_in, with_fields

_LINEAGE = [
    ("weight", pa.float64()),
    ("distribution", pa.float64()),
    ("nearest_real", pa.int64()),
    ("nearest_distance", pa.float64()),
]
WEIGHTED = pa.schema([("index", pa.int64()), *SYNTHETIC, *_LINEAGE])

_BLOCK = 4_096


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Draw rows by weight, without replacement where the pool allows (SynAlign, section 3.3)."""
    rows = view.read_rows("synthetic")
    weights = np.asarray(view.read_array("weights"))
    distribution = np.asarray(view.read_array("distribution"))
    vectors = np.asarray(view.read_array("synthetic_vectors"))
    nearest, distance = nearest_rows(vectors, np.asarray(view.read_array("real_vectors")))
    weighted = [
        {
            "index": i,
            **row,
            "weight": float(weights[i]),
            "distribution": float(distribution[i]),
            "nearest_real": int(nearest[i]),
            "nearest_distance": float(distance[i]),
        }
        for i, row in enumerate(rows)
    ]
    wanted = _quotas(config, view, rows, weights) if weights.any() else {}
    if not wanted:
        view.warn("no row is worth training on beside the real ones, so the aligned set is empty")
    drawn: list[int] = []
    labels = np.array([row["label"] for row in rows])
    for label, size in wanted.items():
        members = np.flatnonzero(labels == label)
        share = weights[members]
        if size and share.any():
            picked = resample(
                share / share.sum(),
                size,
                key=key(config.run.seed, "resample", label),
                embeddings=vectors[members],
                distinct=True,
            )
            drawn += members[np.asarray(picked)].tolist()
    aligned = [weighted[i] for i in sorted(drawn)]
    repeated = len(aligned) - len(set(drawn))
    if repeated:
        view.warn(
            f"{repeated} of the {len(aligned)} aligned rows repeat a row: more were asked for than there are"
        )
    schema = with_fields(WEIGHTED, fields_in(view))
    for name, rows_out in (("weighted", weighted), ("aligned", aligned)):
        view.write_rows(name, rows_out, schema)
        shown = _shown(rows_out, multi_label=config.data.multi_label)
        for suffix in ("jsonl", *config.resample.formats):
            with view.writing(name, f".{suffix}") as path:
                write_rows(path, shown, f"{name}.{suffix}", () if shown else schema.names)
    view.facts.update(
        rows=len(aligned), of=len(rows), labels=dict(sorted(Counter(labels[drawn].tolist()).items()))
    )


def _quotas(
    config: Config, view: StageView, rows: list[dict[str, Any]], weights: np.ndarray
) -> dict[str, int]:
    """Rows to draw of each label."""
    size = config.resample.rows
    if size == "auto":
        size = max(1, round(min(weights.sum(), effective_rows(weights))))
    real = Counter(row["label"] for row in view.read_rows("few_shot"))
    made = Counter(row["label"] for row in rows)
    weighty = {row["label"] for row, weight in zip(rows, weights, strict=True) if weight > 0}
    made = {label: count for label, count in made.items() if label in weighty}
    shares = {label: 1.0 if config.resample.labels == "balanced" else real[label] for label in made}
    # A label short of rows passes its share on, unless there are not enough rows at all: then rows repeat.
    return quotas(shares, size, floor=1, caps=made if size <= len(rows) else None)


def nearest_rows(rows: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index, Euclidean distance) of the nearest anchor of every row."""
    index = np.empty(len(rows), np.int64)
    distance = np.empty(len(rows))
    norms = np.sum(anchors**2, axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        best = np.argmin(norms - 2.0 * block @ anchors.T, axis=1)
        index[start : start + len(block)] = best
        distance[start : start + len(block)] = np.linalg.norm(block - anchors[best], axis=1)
    return index, distance


def _shown(rows: list[dict[str, Any]], *, multi_label: bool) -> list[dict[str, Any]]:
    """Rows for the user: unlabelled ones have no label column, several labels are a list."""
    shown = []
    for row in rows:
        row = {**row, "attributes": json.loads(row["attributes"])}
        if multi_label:
            row["label"] = row["label"].split(SEPARATOR) if row["label"] else []
        elif row["label"] == UNLABELLED:
            del row["label"]
        shown.append(row)
    return shown
