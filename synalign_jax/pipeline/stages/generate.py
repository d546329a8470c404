"""Stage generate: attributes in, new rows out.

Reads `few_shot`, `real_vectors`, `clusters` and `attributes`; writes `synthetic` (rows kept, with their
lineage) and `rejected` (rows dropped, with the reason).
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from synalign_jax.core.explore.explore import explore
from synalign_jax.llm.driver import Outcome
from synalign_jax.pipeline.asking.ask import NoAnswersError, open_asker
from synalign_jax.pipeline.asking.calls import Call, Desk, mixed_attributes, row_shape, rows_of
from synalign_jax.pipeline.asking.prompts import load_prompts
from synalign_jax.pipeline.asking.quotas import quotas
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.loop.sieve import Sieve
from synalign_jax.pipeline.seeds import generator, key
from synalign_jax.pipeline.tools import Tools

from .embed import vectors_of

SYNTHETIC = pa.schema(
    [
        ("text", pa.string()),
        ("label", pa.string()),
        ("cluster", pa.int64()),
        ("demonstrations", pa.list_(pa.int64())),
        ("attributes", pa.string()),
        ("prompt_hash", pa.string()),
        ("model", pa.string()),
    ]
)
REJECTED = SYNTHETIC.append(pa.field("reason", pa.string()))

# Generated rows that the posterior is told of: more change the order of a few clusters no further.
_MOST_OBSERVED = 1_000


@dataclass
class _Label:
    """How far the rows of one label are."""

    label: str
    wanted: int
    most_calls: int
    clusters: list[dict[str, Any]]
    calls: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def calls_for(self, target: int, rows_per_call: int) -> int:
        """Calls still to make to reach `target` rows, at the yield seen so far."""
        missing = target - len(self.rows)
        if missing <= 0:
            return 0
        rows_a_call = max(len(self.rows) / self.calls, 0.5) if self.calls else rows_per_call
        return min(math.ceil(missing / rows_a_call), self.most_calls - self.calls)


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Ask for rows until every label has its share or its calls are used up (SynAlign, section 3.2, stage 2).

    The rows are asked for in waves: the first gives every cluster its turn, later ones begin with the
    clusters whose surroundings neither the rows so far nor the clusters before them cover.

    Raises:
        NoAnswersError: no row of some label could be kept.
        LLMError: the endpoint refuses every request.
    """
    real = view.read_rows("few_shot")
    texts = [row["text"] for row in real]
    vectors = np.asarray(view.read_array("real_vectors"))
    attributes = {row["cluster"]: json.loads(row["attributes"]) for row in view.read_rows("attributes")}
    clusters = [
        {**cluster, "attributes": attributes[cluster["cluster"]]}
        for cluster in view.read_rows("clusters")
        if cluster["cluster"] in attributes
    ]
    prompts = load_prompts(config)
    shape = row_shape(config, texts)
    desk = Desk(config, prompts, shape, view.read_json("form")["form"], texts)
    labels = {
        label: _Label(
            label,
            wanted,
            math.ceil(config.generate.calls_factor * wanted / shape.rows_per_call),
            [cluster for cluster in clusters if cluster["label"] == label],
        )
        for label, wanted in quotas(Counter(row["label"] for row in real), config.generate.rows).items()
        if wanted
    }
    sieve = Sieve(desk, sorted(labels))
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    failed: list[Outcome] = []
    with open_asker(view, config, tools) as asker:
        for wave in itertools.count(1):
            calls: list[Call] = []
            for state in labels.values():
                target = math.ceil(state.wanted * min(wave / config.generate.waves, 1.0))
                count = state.calls_for(target, shape.rows_per_call)
                if count:
                    turns = _turns(view, config, tools, state, vectors, wave)
                    calls += [
                        desk.call(
                            cluster,
                            mixed_attributes(config, cluster, state.clusters, state.calls + number),
                            state.calls + number,
                        )
                        for number in range(count)
                        for cluster in [turns[number % len(turns)]]
                    ]
            if not calls:
                if wave >= config.generate.waves:
                    break
                continue
            outcomes = asker.ask(f"generate: rows, wave {wave}", [call.request for call in calls])
            # The order of the requests, not that of the answers, decides which of two equal rows is the
            # first: a run that was killed and continued ends with the same rows.
            for call, outcome in zip(calls, outcomes, strict=True):
                state = labels[call.label]
                state.calls += 1
                if outcome.response is None:
                    failed.append(outcome)
                for row in rows_of(call, outcome, config):
                    row["text"] = sieve.cleaned(row["text"])
                    reason = sieve.verdict(row)
                    if reason is None and len(state.rows) >= state.wanted:
                        reason = "more than was asked for"
                    if reason is None:
                        state.rows.append(row)
                        kept.append(row)
                    else:
                        rejected.append({**row, "reason": reason})
    for state in sorted(labels.values(), key=lambda state: state.label):
        if not state.rows:
            raise NoAnswersError("row", state.label, failed, view.root)
        if len(state.rows) < state.wanted:
            view.warn(
                f"{len(state.rows)} of {state.wanted} rows wanted for the label '{state.label}' after"
                f" {state.calls} calls; [generate] calls_factor allows more"
            )
    view.write_rows("synthetic", kept, SYNTHETIC)
    view.write_rows("rejected", rejected, REJECTED)
    view.facts.update(
        rows=len(kept),
        calls=sum(state.calls for state in labels.values()),
        failed_calls=len(failed),
        rejected=dict(sorted(Counter(row["reason"] for row in rejected).items())),
        labels={state.label: len(state.rows) for state in labels.values()},
    )


def _turns(
    view: StageView, config: Config, tools: Tools, state: _Label, vectors: np.ndarray, wave: int
) -> list[dict[str, Any]]:
    """The clusters of a label in the order of their turns.

    Before there are rows the order is random. Then it is that of exploration over the clusters' centres, the
    rows so far having been observed (SynAlign, section 3.1).
    """
    clusters = state.clusters
    if not state.rows or len(clusters) < 2:
        order = generator(config.run.seed, "turns", state.label, wave).permutation(len(clusters)).tolist()
        return [clusters[i] for i in order]
    recent = [row["text"] for row in state.rows[-_MOST_OBSERVED:]]
    found = explore(
        vectors[[cluster["center"] for cluster in clusters]],
        rounds=len(clusters),
        neighbors=0,
        key=key(config.run.seed, "turns", state.label, wave),
        project=None,
        observed=vectors_of(view, tools, recent, "generate: embed rows so far"),
    )
    order = list(dict.fromkeys([*found.centers.tolist(), *range(len(clusters))]))
    return [clusters[i] for i in order]
