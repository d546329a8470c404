"""One request for new rows: what it asks for, and the rows that its answer holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.seeds import generator

from .forms import LIST, extra, list_grammar, list_items, plain
from .lineage import draw_seed, prompt_hash
from .prompts import ROWS_SAMPLE, Prompts, render, shown

FEWEST_CHARACTERS = 3
_CHARACTERS_PER_TOKEN = 3.0
_LONGER = 1.25  # times the real rows' length that a new row may have
_LEAST = 60  # characters that a row may have however short the real ones are
# The lengths that a call may name: endpoints compile a schema when they first see it, and keep few.
_STEPS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)


@dataclass(frozen=True)
class RowShape:
    """How long a row may be and how many a call asks for: from the real rows and the context's size.

    `given` says that the length is the settings'.
    """

    characters: int
    rows_per_call: int
    given: bool = False

    def of(self, members: Sequence[str]) -> RowShape:
        """The same for a call that shows `members`: rows are about as long as those, or cost for nothing."""
        if self.given or not members:
            return self
        longest = _LONGER * max(len(text) for text in members)
        step = next((step for step in _STEPS if step >= longest), self.characters)
        return replace(self, characters=min(step, self.characters))

    @property
    def max_tokens(self) -> int:
        return int(self.rows_per_call * (self.characters / _CHARACTERS_PER_TOKEN + 8)) + 24


def row_shape(config: Config, texts: list[str]) -> RowShape:
    characters = config.generate.max_row_characters
    given = characters != "auto"
    if characters == "auto":
        usual = np.quantile([len(text) for text in texts], 0.95)
        characters = int(np.clip(_LONGER * usual, _LEAST, 4_000))
    tokens = characters / _CHARACTERS_PER_TOKEN + 8
    fitting = max(1, int(config.llm.context / 2 / tokens))
    return RowShape(characters, min(config.generate.rows_per_call, fitting), given)


@dataclass(frozen=True)
class Call:
    """A request, and what it was made of. `cluster` has the id, label and members (real rows shown);
    `characters` is how long a row may be.
    """

    label: str
    cluster: dict[str, Any]
    attributes: dict[str, str]
    request: ChatRequest
    characters: int


@dataclass(frozen=True)
class Desk:
    """What every request for rows is made with: settings, prompts, the form of asking and the real texts."""

    config: Config
    prompts: Prompts
    shape: RowShape
    form: str
    texts: list[str]
    hidden: frozenset[int] = frozenset()  # real rows that no model is shown

    def call(
        self,
        cluster: dict[str, Any],
        attributes: dict[str, str],
        number: int,
        *,
        use: str = "generate",
        contrast: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ) -> Call:
        """The `number`-th request of a `use` for rows of the cluster's label.

        It depends on nothing but its arguments, so that a run killed and continued asks the same again.

        Args:
            contrast: rows of the label that were written before, the best and the worst of them.
        """
        config, label = self.config, cluster["label"]
        cluster = {**cluster, "members": [i for i in cluster["members"] if i not in self.hidden]}
        values = {"task": self.prompts.task, "label": label, "attributes": attributes}
        members = [self.texts[i] for i in cluster["members"]] if config.generate.show_demonstrations else []
        told = shown(members)
        # A list goes on as it began, and what a small model writes beyond that is of no use.
        shape = self.shape.of(told if self.form == LIST else members)
        make = self._list if self.form == LIST else self._json
        request = make(values, told, shape, contrast)
        seed = draw_seed(config, f"{use} {label}", number)
        request = ChatRequest(
            model=config.llm.model,
            max_tokens=shape.max_tokens,
            temperature=config.llm.temperature,
            top_p=config.llm.top_p,
            seed=seed,
            **request,
        )
        return Call(label, cluster, attributes, request, shape.characters)

    def _json(
        self,
        values: dict[str, Any],
        members: list[str],
        shape: RowShape,
        contrast: tuple[Sequence[str], Sequence[str]],
    ) -> dict[str, Any]:
        count, template = shape.rows_per_call, self.prompts.rows_template
        good, bad = (shown(list(texts)) for texts in contrast)
        told = {"good": good, "bad": bad}
        messages: list[Message] = []
        # The real rows are the answer to a question like ours: a worked example shows models of any size what
        # is wanted. A template of the user's own finds its demonstrations where it put them.
        if members and not self.prompts.own:
            example = ROWS_SAMPLE | values | {"demonstrations": [], "count": len(members)}
            messages = [
                Message("user", render(template, example)),
                Message("assistant", json.dumps({"texts": members}, ensure_ascii=False)),
            ]
        demonstrations = members if self.prompts.own else []
        content = render(
            template,
            values | told | {"demonstrations": demonstrations, "count": count, "again": bool(messages)},
        )
        item = {"type": "string", "minLength": FEWEST_CHARACTERS, "maxLength": shape.characters}
        # Small models stop after a row or two unless the grammar holds them to more; an answer that was cut
        # off still counts when most of its rows are whole.
        rows = {"type": "array", "items": item, "minItems": count // 2 + 1, "maxItems": count}
        return {
            "messages": (*messages, Message("user", content)),
            "schema": {
                "type": "object",
                "properties": {"texts": rows},
                "required": ["texts"],
                "additionalProperties": False,
            },
        }

    def _list(
        self,
        values: dict[str, Any],
        members: list[str],
        shape: RowShape,
        contrast: tuple[Sequence[str], Sequence[str]],
    ) -> dict[str, Any]:
        # A list goes on as it began: a bad row in it would bring more of its kind.
        del contrast
        content = render(self.prompts.rows_list_template, values | {"demonstrations": members})
        grammar = list_grammar(shape.rows_per_call, FEWEST_CHARACTERS, shape.characters)
        return {
            "messages": (Message("user", content),),
            "continues": True,
            "stop": ("\n\n",),
            "extra": extra(self.config, grammar),
        }


def mixed_attributes(
    config: Config,
    cluster: Mapping[str, Any],
    clusters: Sequence[Mapping[str, Any]],
    number: int,
    odds: Mapping[tuple[str, str], float] | None = None,
) -> dict[str, str]:
    """The cluster's attributes, every one with even odds from another cluster of the label.

    That is the generalisation of SynAlign (section 3.2). `odds` tells how likely a value (name, value) is
    to be the one that is taken; values that it does not know count 1.
    """
    rng = generator(config.run.seed, "generate", cluster["label"], number)
    mixed = dict(cluster["attributes"])
    names = sorted({name for other in clusters for name in other["attributes"]})
    for name in names:
        values = [other["attributes"][name] for other in clusters if name in other["attributes"]]
        chances = np.array([(odds or {}).get((name, value), 1.0) for value in values])
        other = values[int(rng.choice(len(values), p=chances / chances.sum()))]
        if rng.random() < 0.5:
            mixed[name] = other
    return mixed


def rows_of(call: Call, outcome: Outcome | None) -> list[dict[str, Any]]:
    """The rows of an answer with their lineage; none where the call failed."""
    if outcome is None or outcome.response is None:
        return []
    if call.request.continues:
        texts = list_items(outcome.response.text)
    else:
        texts = [plain(text) for text in outcome.value["texts"]] if outcome.value is not None else []
    return [
        {
            "text": text,
            "label": call.label,
            "asked_label": call.label,
            "cluster": call.cluster["cluster"],
            "demonstrations": call.cluster["members"],
            "attributes": json.dumps(call.attributes),
            "prompt_hash": prompt_hash(call.request),
            "model": outcome.response.model,
        }
        for text in texts
    ]
