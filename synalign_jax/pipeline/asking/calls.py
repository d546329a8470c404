"""One request for new rows: what it asks for, and the rows that its answer holds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.seeds import generator

from .lineage import draw_seed, model_name, prompt_hash
from .prompts import Prompts, render, shown

FEWEST_CHARACTERS = 3
_CHARACTERS_PER_TOKEN = 3.0
# Models number their rows though nobody asked; the number is not part of the text.
_ENUMERATION = re.compile(r"^\s*(?:\(?\d{1,2}[.):]|[-*•])\s+")


@dataclass(frozen=True)
class RowShape:
    """How long a row may be and how many a call asks for: from the real rows and the context's size."""

    characters: int
    rows_per_call: int

    @property
    def max_tokens(self) -> int:
        return int(self.rows_per_call * (self.characters / _CHARACTERS_PER_TOKEN + 8)) + 24


def row_shape(config: Config, texts: list[str]) -> RowShape:
    characters = config.generate.max_row_characters
    if characters == "auto":
        characters = int(np.clip(1.25 * np.quantile([len(text) for text in texts], 0.95), 60, 4_000))
    tokens = characters / _CHARACTERS_PER_TOKEN + 8
    fitting = max(1, int(config.llm.context / 2 / tokens))
    return RowShape(characters, min(config.generate.rows_per_call, fitting))


@dataclass(frozen=True)
class Call:
    """A request, and what it was made of."""

    label: str
    cluster: dict[str, Any]
    attributes: dict[str, str]
    request: ChatRequest


def make_call(
    config: Config,
    prompts: Prompts,
    shape: RowShape,
    cluster: dict[str, Any],
    clusters: list[dict[str, Any]],
    number: int,
    texts: list[str],
) -> Call:
    """The `number`-th request for rows of a label, from one of its `clusters`.

    It depends on nothing but its arguments, so that a run killed and continued asks the same again. Every
    attribute comes with even odds from another cluster of the label (the generalisation of SynAlign, section
    3.2).
    """
    label = cluster["label"]
    rng = generator(config.run.seed, "generate", label, number)
    mixed = dict(cluster["attributes"])
    for name in mixed:
        other = clusters[int(rng.integers(len(clusters)))]
        if rng.random() < 0.5 and name in other["attributes"]:
            mixed[name] = other["attributes"][name]
    members = [texts[i] for i in cluster["members"]]
    content = render(
        prompts.rows_template,
        {
            "task": prompts.task,
            "label": label,
            "attributes": mixed,
            "demonstrations": shown(members) if config.generate.show_demonstrations else [],
            "count": shape.rows_per_call,
        },
    )
    item = {"type": "string", "minLength": FEWEST_CHARACTERS, "maxLength": shape.characters}
    # Small models stop after a row or two unless the grammar holds them to more; an answer that was cut off
    # still counts when most of its rows are whole.
    fewest = shape.rows_per_call // 2 + 1
    rows = {"type": "array", "items": item, "minItems": fewest, "maxItems": shape.rows_per_call}
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
    return Call(label, cluster, mixed, request)


def rows_of(call: Call, outcome: Outcome, config: Config) -> list[dict[str, Any]]:
    """The rows of an answer with their lineage; none where the call failed."""
    if outcome.response is None or outcome.value is None:
        return []
    return [
        {
            "text": " ".join(_ENUMERATION.sub("", text).split()),
            "label": call.label,
            "cluster": call.cluster["cluster"],
            "demonstrations": call.cluster["members"],
            "attributes": json.dumps(call.attributes),
            "prompt_hash": prompt_hash(call.request),
            "model": model_name(config, outcome.response),
        }
        for text in outcome.value["texts"]
    ]
