"""Stage resample: weighted rows in, the aligned set out.

Writes `aligned` (the rows drawn) and `weighted` (every row with its weight), for the user also as JSONL and
in the formats that are asked for.
`weight` is what the row counts for where each real row counts 1, `distribution` its share in the distribution
that is nearest to the real rows'. Rows that are not worth using have weight 0, and none of them is drawn.
Every row carries its nearest real row and the distance to it; a conversation is a list of turns, and several
labels are a list.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from synalign_jax.core.effective import effective_rows
from synalign_jax.core.nearest import nearest_rows
from synalign_jax.core.resample import resample
from synalign_jax.pipeline.asking.quotas import quotas
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.data.values import labels_in
from synalign_jax.pipeline.data.written import write_blocks
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.on_disk import SomeRows
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

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""A conversation, as chat templates take it."""

_BLOCK = 4_096


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Draw rows by weight, without replacement where the pool allows (SynAlign, section 3.3)."""
    rows = view.read_table("synthetic")
    weights = np.asarray(view.read_array("weights"))
    distribution = np.asarray(view.read_array("distribution"))
    vectors = view.rows_on_disk("synthetic_vectors")
    nearest, distance = nearest_rows(vectors, np.asarray(view.read_array("real_vectors")))
    labels = np.array(rows["label"].to_pylist())
    wanted = _quotas(config, view, labels, weights) if weights.any() else {}
    if not wanted:
        view.warn("no row is worth training on beside the real ones, so the aligned set is empty")
    drawn: list[int] = []
    for label, size in wanted.items():
        members = np.flatnonzero(labels == label)
        share = weights[members]
        if size and share.any():
            picked = resample(
                share / share.sum(),
                size,
                key=key(config.run.seed, "resample", label),
                embeddings=SomeRows(vectors, members),
                distinct=True,
            )
            drawn += members[np.asarray(picked)].tolist()
    drawn.sort()
    repeated = len(drawn) - len(set(drawn))
    if repeated:
        view.warn(
            f"{repeated} of the {len(drawn)} aligned rows repeat a row: more were asked for than there are"
        )
    own = {
        "index": np.arange(len(rows)),
        "weight": weights,
        "distribution": distribution,
        "nearest_real": nearest,
        "nearest_distance": distance,
    }
    fields = fields_in(view)
    schema = with_fields(WEIGHTED, fields)
    columns: dict[str, Any] = {name: own[name] if name in own else rows[name] for name in schema.names}
    for field in fields.fields:
        if field.roles:
            place = schema.get_field_index(field.column)
            schema = schema.set(place, pa.field(field.column, _TURNS))
            turns = [field.turns(text) for text in rows[field.column].to_pylist()]
            columns[field.column] = pa.array(turns, _TURNS)
    multi_label = config.data.multi_label
    if multi_label:
        schema = schema.set(schema.get_field_index("label"), pa.field("label", pa.list_(pa.string())))
        columns["label"] = pa.array(map(labels_in, labels.tolist()), pa.list_(pa.string()))
    weighted = pa.table(columns, schema=schema)
    for name, table in (("weighted", weighted), ("aligned", weighted.take(pa.array(drawn, pa.int64())))):
        view.write_table(name, table)
        plain = len(table) and not multi_label and table["label"][0].as_py() == UNLABELLED
        names = [column for column in schema.names if not (plain and column == "label")]
        for suffix in ("jsonl", *config.resample.formats):
            blocks = (_shown(batch.to_pylist()) for batch in table.to_batches(max_chunksize=_BLOCK))
            with view.writing(name, f".{suffix}") as path:
                write_blocks(path, blocks, f"{name}.{suffix}", names)
    view.facts.update(
        rows=len(drawn), of=len(rows), labels=dict(sorted(Counter(labels[drawn].tolist()).items()))
    )


def _quotas(config: Config, view: StageView, labels: np.ndarray, weights: np.ndarray) -> dict[str, int]:
    """Rows to draw of each label."""
    size = config.resample.rows
    if size == "auto":
        size = max(1, round(min(weights.sum(), effective_rows(weights))))
    real = Counter(view.read_column("few_shot", "label"))
    made = Counter(labels.tolist())
    weighty = set(labels[weights > 0].tolist())
    made = {label: count for label, count in made.items() if label in weighty}
    shares = {label: 1.0 if config.resample.labels == "balanced" else real[label] for label in made}
    # A label short of rows passes its share on, unless there are not enough rows at all: then rows repeat.
    return quotas(shares, size, floor=1, caps=made if size <= len(labels) else None)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for the user: unlabelled ones have no label column."""
    shown = []
    for row in rows:
        row = {**row, "attributes": json.loads(row["attributes"])}
        if row["label"] == UNLABELLED:
            del row["label"]
        shown.append(row)
    return shown
