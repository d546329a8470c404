"""Stage generate: attributes in, new rows out.

Reads `few_shot`, `clusters` and `attributes`; writes `synthetic` (rows kept, with their lineage) and
`rejected` (rows dropped, with the reason).
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

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest, Message

from .ask import open_asker
from .config import Config
from .duplicates import TextIndex
from .folder import StageView
from .prompts import Prompts, load_prompts, render
from .quotas import quotas
from .reason import NoAnswersError, draw_seed, prompt_hash, shown
from .seeds import generator
from .tools import Tools

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

_FEWEST_CHARACTERS = 3
_CHARACTERS_PER_TOKEN = 3.0


@dataclass
class _Call:
    """One request for rows, and what it was made of."""

    label: str
    cluster: dict[str, Any]
    attributes: dict[str, str]
    request: ChatRequest


@dataclass
class _Label:
    """How far the rows of one label are."""

    wanted: int
    most_calls: int
    clusters: list[dict[str, Any]]
    calls: int = 0
    kept: int = 0

    def next_calls(self, rows_per_call: int) -> int:
        """Calls still to make now, at the yield seen so far."""
        missing = self.wanted - self.kept
        if missing <= 0:
            return 0
        rows_a_call = max(self.kept / self.calls, 0.5) if self.calls else rows_per_call
        return min(math.ceil(missing / rows_a_call), self.most_calls - self.calls)


@dataclass
class _Sieve:
    """Keeps new rows and drops repetitions: of real rows first, of earlier rows then."""

    real: TextIndex
    earlier: TextIndex = field(default_factory=TextIndex)

    def verdict(self, text: str) -> str | None:
        """Why a row is dropped, or None when it is kept and remembered."""
        if len(text) < _FEWEST_CHARACTERS:
            return "blank"
        if self.real.find(text) is not None:
            return "copy of a real row"
        if self.earlier.find(text) is not None:
            return "repeats an earlier row"
        self.earlier.add(text)
        return None


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Ask for rows until every label has its share or its calls are used up (SynAlign, section 3.2, stage 2).

    Raises:
        NoAnswersError: no row at all could be kept.
        LLMError: the endpoint refuses every request.
    """
    real = view.read_rows("few_shot")
    texts = [row["text"] for row in real]
    attributes = {row["cluster"]: row for row in view.read_rows("attributes")}
    clusters = [cluster for cluster in view.read_rows("clusters") if cluster["cluster"] in attributes]
    for cluster in clusters:
        cluster["attributes"] = json.loads(attributes[cluster["cluster"]]["attributes"])
    prompts = load_prompts(config)
    shape = _row_shape(config, texts)
    shares = quotas(Counter(row["label"] for row in real), config.generate.rows)
    labels = {
        label: _Label(
            wanted,
            math.ceil(config.generate.calls_factor * wanted / shape.rows_per_call),
            [cluster for cluster in clusters if cluster["label"] == label],
        )
        for label, wanted in shares.items()
        if wanted
    }
    sieve = _Sieve(TextIndex())
    for text in texts:
        sieve.real.add(text)
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    failed = 0
    with open_asker(view, config, tools) as asker:
        for batch in itertools.count(1):
            calls = [
                make_call(config, prompts, shape, label, state.clusters, state.calls + number, texts)
                for label, state in labels.items()
                for number in range(state.next_calls(shape.rows_per_call))
            ]
            if not calls:
                break
            title = "generate: rows" if batch == 1 else f"generate: rows, round {batch}"
            outcomes = asker.ask(title, [call.request for call in calls])
            # The order of the requests, not that of the answers, decides which of two equal rows is the
            # first: a run that was killed and continued ends with the same rows.
            for call, outcome in zip(calls, outcomes, strict=True):
                state = labels[call.label]
                state.calls += 1
                failed += outcome.response is None
                for row in _rows_of(call, outcome):
                    reason = sieve.verdict(row["text"])
                    if reason is None and state.kept >= state.wanted:
                        reason = "more than was asked for"
                    if reason is None:
                        state.kept += 1
                        kept.append(row)
                    else:
                        rejected.append({**row, "reason": reason})
    bare = sorted(label for label, state in labels.items() if not state.kept)
    if bare:
        raise NoAnswersError(
            f"the LLM wrote no usable row for the label '{bare[0]}';"
            f" look at its answers with: synalign ledger {view.root}"
        )
    short = {label: state for label, state in labels.items() if state.kept < state.wanted}
    for label, state in sorted(short.items()):
        view.warn(
            f"{state.kept} of {state.wanted} rows wanted for the label '{label}' after {state.calls} calls;"
            " [generate] calls_factor allows more"
        )
    view.write_rows("synthetic", kept, SYNTHETIC)
    view.write_rows("rejected", rejected, REJECTED)
    view.facts.update(
        rows=len(kept),
        calls=sum(state.calls for state in labels.values()),
        failed_calls=failed,
        rejected=dict(sorted(Counter(row["reason"] for row in rejected).items())),
        labels={label: state.kept for label, state in labels.items()},
    )


@dataclass(frozen=True)
class RowShape:
    """How long a row may be and how many a call asks for: from the real rows and the context's size."""

    characters: int
    rows_per_call: int

    @property
    def max_tokens(self) -> int:
        return int(self.rows_per_call * (self.characters / _CHARACTERS_PER_TOKEN + 8)) + 24


def _row_shape(config: Config, texts: list[str]) -> RowShape:
    characters = config.generate.max_row_characters
    if characters == "auto":
        characters = int(np.clip(1.25 * np.quantile([len(text) for text in texts], 0.95), 60, 4_000))
    tokens = characters / _CHARACTERS_PER_TOKEN + 8
    fitting = max(1, int(config.llm.context / 2 / tokens))
    return RowShape(characters, min(config.generate.rows_per_call, fitting))


def make_call(
    config: Config,
    prompts: Prompts,
    shape: RowShape,
    label: str,
    clusters: list[dict[str, Any]],
    number: int,
    texts: list[str],
) -> _Call:
    """The `number`-th request for rows of a label.

    It depends on nothing but its arguments, so that a run killed and continued asks the same again. Clusters
    take turns; every attribute comes with even odds from another cluster of the label (the generalisation of
    SynAlign, section 3.2).
    """
    rng = generator(config.run.seed, "generate", label, number)
    turns = generator(config.run.seed, "turns", label, number // len(clusters)).permutation(len(clusters))
    cluster = clusters[int(turns[number % len(clusters)])]
    mixed = dict(cluster["attributes"])
    for name in mixed:
        other = clusters[int(rng.integers(len(clusters)))]
        if rng.random() < 0.5 and name in other["attributes"]:
            mixed[name] = other["attributes"][name]
    demonstrations = (
        shown([texts[i] for i in cluster["members"]]) if config.generate.show_demonstrations else []
    )
    content = render(
        prompts.rows_template,
        {
            "task": prompts.task,
            "label": label,
            "attributes": mixed,
            "demonstrations": demonstrations,
            "count": shape.rows_per_call,
        },
    )
    item = {"type": "string", "minLength": _FEWEST_CHARACTERS, "maxLength": shape.characters}
    rows = {"type": "array", "items": item, "minItems": 1, "maxItems": shape.rows_per_call}
    request = ChatRequest(
        messages=(Message("user", content),),
        model=config.llm.model,
        max_tokens=shape.max_tokens,
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        seed=draw_seed(config, f"generate {label}", number),
        schema={
            "type": "object",
            "properties": {"texts": rows},
            "required": ["texts"],
            "additionalProperties": False,
        },
    )
    return _Call(label, cluster, mixed, request)


def _rows_of(call: _Call, outcome: Outcome) -> list[dict[str, Any]]:
    if outcome.response is None or outcome.value is None:
        return []
    return [
        {
            "text": " ".join(text.split()),
            "label": call.label,
            "cluster": call.cluster["cluster"],
            "demonstrations": call.cluster["members"],
            "attributes": json.dumps(call.attributes),
            "prompt_hash": prompt_hash(call.request),
            "model": outcome.response.model,
        }
        for text in outcome.value["texts"]
    ]
