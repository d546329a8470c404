"""Stage reason: a demonstration cluster in, the attributes that its texts share out.

Reads `few_shot`, `clusters` and `form`; writes `attributes`, one row a cluster whose answer could be used.
Values that say nothing are left out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import BudgetReached, ChatRequest, Message
from synalign_jax.pipeline.asking.ask import Asker, NoAnswersError, open_asker
from synalign_jax.pipeline.asking.forms import JSON, LISTS, extra, line_values, temperature, values_grammar
from synalign_jax.pipeline.asking.lineage import draw_seed, prompt_hash
from synalign_jax.pipeline.asking.prompts import Prompts, labelled, load_prompts, render, shown
from synalign_jax.pipeline.asking.telling import telling, without_common
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.seeds import generator
from synalign_jax.pipeline.tools import Tools

from .load import fields_in

ATTRIBUTES = pa.schema(
    [
        ("cluster", pa.int64()),
        ("label", pa.string()),
        ("attributes", pa.string()),
        ("prompt_hash", pa.string()),
        ("model", pa.string()),
    ]
)

_NAMES_WANTED = 4
FALLBACK = {
    "subject": "what they are about",
    "style": "how they are written",
    "tone": "the feeling behind them",
}
_VALUE_CHARACTERS = 120


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Ask for the attributes of every cluster (SynAlign, section 3.2, stage 1), as far as the budget goes.

    Raises:
        ConfigError: a preset or template that cannot be used.
        NoAnswersError: no cluster of some label got a usable answer.
        LLMError: the endpoint refuses every request.
    """
    prompts = load_prompts(config, fields_in(view))
    texts = [row["text"] for row in view.read_rows("few_shot")]
    clusters = view.read_rows("clusters")
    form = view.read_json("form")["form"]
    with open_asker(view, config, tools, config.reason.llm) as asker:
        prompts = named(view, config, asker, prompts, texts, clusters, form)
        found = reasoned(config, asker, prompts, clusters, texts, form, "reason: attributes")
    rows = found.rows
    failed = len(clusters) - len(rows)
    bare = sorted({cluster["label"] for cluster in clusters} - {row["label"] for row in rows})
    if found.reached is not None:
        view.warn(f"{found.reached}: {failed} of {len(clusters)} clusters have no attributes")
        # Rows that are paid for need none: those of the trial.
        rows = rows + [_counted(cluster, texts) for cluster in clusters if cluster["label"] in bare]
    elif bare:
        raise NoAnswersError("attributes", bare[0], found.outcomes, view.root)
    elif failed:
        view.warn(f"{failed} of {len(clusters)} clusters got no usable attributes and were left out")
    view.write_rows("attributes", rows, ATTRIBUTES)
    silent = found.values - found.telling
    if found.telling < silent:
        view.warn(f"{silent} of the {found.values} attribute values say nothing and are not used")
    view.facts.update(
        clusters=len(clusters),
        failed=failed,
        names=list(prompts.attributes),
        values=found.telling,
        say_nothing=silent,
    )


@dataclass(frozen=True)
class Reasoned:
    """Attributes of clusters: one row a cluster whose answer could be used.

    `values` were given in all, `telling` of them say something. `outcomes` has one entry a cluster, None
    where the budget ended before: `reached`.
    """

    rows: list[dict[str, Any]]
    outcomes: list[Outcome | None]
    values: int
    telling: int
    reached: BudgetReached | None


def named(
    view: StageView,
    config: Config,
    asker: Asker,
    prompts: Prompts,
    texts: list[str],
    clusters: list[dict[str, Any]],
    form: str,
) -> Prompts:
    """The prompts with attributes to ask for: the settings', or those that the LLM says matter."""
    if prompts.attributes:
        return prompts
    return prompts.with_attributes(
        FALLBACK if form in LISTS else _ask_names(view, config, asker, prompts, texts, clusters)
    )


def reasoned(
    config: Config,
    asker: Asker,
    prompts: Prompts,
    clusters: list[dict[str, Any]],
    texts: list[str],
    form: str,
    title: str,
) -> Reasoned:
    """Ask for the attributes of `clusters`."""
    requests = [attributes_request(config, prompts, cluster, texts, form) for cluster in clusters]
    outcomes, reached = asker.ask_within(title, requests)
    answered = [
        (cluster, request, outcome.response, values)
        for cluster, request, outcome in zip(clusters, requests, outcomes, strict=True)
        if outcome is not None
        and outcome.response is not None
        and (values := _values(outcome, prompts)) is not None
    ]
    told = without_common(
        [
            telling(values, prompts.attributes, cluster["label"], prompts.task)
            for cluster, _, _, values in answered
        ]
    )
    count = sum(map(len, told))
    rows: list[dict[str, Any]] = []
    for (cluster, request, response, _), values in zip(answered, told, strict=True):
        row = _counted(cluster, texts, values)
        rows.append({**row, "prompt_hash": prompt_hash(request), "model": response.model})
    return Reasoned(rows, outcomes, sum(len(values) for *_, values in answered), count, reached)


def _counted(
    cluster: Mapping[str, Any], texts: list[str], values: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The row of a cluster with the attribute that is counted beside those that were asked for, if any."""
    length = length_of([texts[i] for i in cluster["members"]])
    return {
        "cluster": cluster["cluster"],
        "label": cluster["label"],
        "attributes": json.dumps({**(values or {}), "length": length}),
        "prompt_hash": "",
        "model": "",
    }


def _values(outcome: Outcome, prompts: Prompts) -> dict[str, str] | None:
    """The values of an answer in either form, by name; None where it cannot be used."""
    if outcome.job.request.continues:
        assert outcome.response is not None
        return line_values(outcome.response.text, prompts.attributes)
    if outcome.value is None:
        return None
    return {name: " ".join(str(value).split()) for name, value in outcome.value.items()}


def attributes_request(
    config: Config, prompts: Prompts, cluster: Mapping[str, Any], texts: list[str], form: str = JSON
) -> ChatRequest:
    if form in LISTS:
        return _attributes_list(config, prompts, cluster, texts, form)
    content = render(
        prompts.attributes_template,
        {
            "task": prompts.task,
            "label": cluster["label"],
            "labelled": labelled(config, cluster["label"]),
            "demonstrations": shown([texts[i] for i in cluster["members"]]),
            "attributes": prompts.attributes,
        },
    )
    value = {"type": "string", "minLength": 1, "maxLength": _VALUE_CHARACTERS}
    return ChatRequest(
        messages=(Message("user", content),),
        model=config.llm.model,
        max_tokens=config.reason.max_tokens,
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        seed=draw_seed(config, "reason", int(cluster["cluster"])),
        schema={
            "type": "object",
            "properties": dict.fromkeys(prompts.attributes, value),
            "required": list(prompts.attributes),
            "additionalProperties": False,
        },
    )


def _attributes_list(
    config: Config, prompts: Prompts, cluster: Mapping[str, Any], texts: list[str], form: str
) -> ChatRequest:
    """The same as lines "name: value" that a text goes on with."""
    content = render(
        prompts.attributes_list_template,
        {
            "task": prompts.task,
            "label": cluster["label"],
            "labelled": labelled(config, cluster["label"]),
            "demonstrations": shown([texts[i] for i in cluster["members"]]),
            "names": list(prompts.attributes),
        },
    )
    return ChatRequest(
        messages=(Message("user", content),),
        model=config.llm.model,
        max_tokens=config.reason.max_tokens,
        temperature=temperature(config, form),
        top_p=config.llm.top_p,
        seed=draw_seed(config, "reason", int(cluster["cluster"])),
        stop=("\n\n",),
        continues=True,
        extra=extra(config, values_grammar(prompts.attributes)),
    )


def _ask_names(
    view: StageView,
    config: Config,
    asker: Asker,
    prompts: Prompts,
    texts: list[str],
    clusters: list[dict[str, Any]],
) -> dict[str, str]:
    """The attributes that matter for this task, by the LLM's own account; asked once a run."""
    rng = generator(config.run.seed, "reason", "names")
    # Rows of the clusters: what no model is to see is in none of them.
    members = sorted({i for cluster in clusters for i in cluster["members"]})
    chosen = rng.choice(members, min(8, len(members)), replace=False)
    labels = sorted({cluster["label"] for cluster in clusters} - {""})
    content = render(
        prompts.names_template,
        {
            "task": prompts.task,
            "labels": labels[:20],
            "demonstrations": shown([texts[i] for i in chosen]),
            "count": _NAMES_WANTED,
        },
    )
    entry = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3, "maxLength": 24},
            "question": {"type": "string", "minLength": 3, "maxLength": _VALUE_CHARACTERS},
        },
        "required": ["name", "question"],
        "additionalProperties": False,
    }
    request = ChatRequest(
        messages=(Message("user", content),),
        model=config.llm.model,
        max_tokens=config.reason.max_tokens,
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        seed=draw_seed(config, "names", 0),
        schema={
            "type": "object",
            "properties": {
                "attributes": {
                    "type": "array",
                    "items": entry,
                    "minItems": 2,
                    "maxItems": _NAMES_WANTED,
                }
            },
            "required": ["attributes"],
            "additionalProperties": False,
        },
    )
    (outcome,), _ = asker.ask_within("reason: attribute names", [request])
    found: dict[str, str] = {}
    for item in outcome.value["attributes"] if outcome is not None and outcome.value is not None else ():
        name = re.sub(r"[^a-z]+", "_", item["name"].lower()).strip("_")
        if len(name) >= 3 and name != "length":
            found.setdefault(name, " ".join(item["question"].split()))
    if len(found) >= 2:
        return found
    view.warn(f"the LLM named no usable attributes; {', '.join(FALLBACK)} are used instead")
    return FALLBACK


def length_of(texts: list[str]) -> str:
    """The length attribute is counted, not asked for: models are poor at it and we need not guess."""
    counts = sorted(len(text.split()) for text in texts)
    low, high = counts[0], counts[-1]
    return f"about {low} words" if low == high else f"{low} to {high} words"
