"""One request for new rows: what it asks for, and the rows that its answer holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.data.fields import Fields
from synalign_jax.pipeline.seeds import generator

from .forms import LISTS, extra, list_grammar, list_items, plain, temperature
from .lineage import draw_seed, prompt_hash
from .prompts import ROWS_SAMPLE, Prompts, labelled, render, shown, shown_values
from .rows import FieldRows

FEWEST_CHARACTERS = 3
_CHARACTERS_PER_TOKEN = 3.0
_LONGER = 1.25  # times the real rows' length that a new row may have
_LEAST = 60  # characters that a row may have however short the real ones are
_TURN = 36  # characters for the role and the braces of a conversation's turn
# The lengths that a call may name: endpoints compile a schema when they first see it, and keep few.
_STEPS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)


@dataclass(frozen=True)
class RowShape:
    """How long a row may be and how many a call asks for: from the real rows and the context's size.

    Attributes:
        characters: of a row.
        rows_per_call: of rows that are about as long as the real ones.
        most: rows that a call may ask for however short they are.
        room: tokens for an answer.
        given: whether the length is the settings'.
        fields: how long each field may be, if there are several.
    """

    characters: int
    rows_per_call: int
    most: int
    room: float
    given: bool = False
    fields: Mapping[str, int] = field(default_factory=dict)

    def of(self, members: Sequence[str]) -> RowShape:
        """The same for a call that shows `members`: rows are about as long as those, or cost for nothing."""
        if self.given or self.fields or not members:
            return self._for(self.characters)
        longest = _LONGER * max(len(text) for text in members)
        step = next((step for step in _STEPS if step >= longest), self.characters)
        return self._for(min(step, self.characters))

    def _for(self, characters: int) -> RowShape:
        """Rows of so many characters, as many as fit."""
        shape = replace(self, characters=characters)
        return replace(shape, rows_per_call=min(self.most, max(1, int(self.room / shape.row_tokens))))

    @property
    def max_tokens(self) -> int:
        return int(self.rows_per_call * self.row_tokens) + 24

    @property
    def row_tokens(self) -> float:
        """A field's name and quotes come with every row."""
        around = 8 + sum(len(name) / _CHARACTERS_PER_TOKEN + 4 for name in self.fields)
        return self.characters / _CHARACTERS_PER_TOKEN + around


def row_shape(config: Config, texts: Sequence[str], rows: FieldRows | None = None) -> RowShape:
    characters = config.generate.max_row_characters
    given = characters != "auto"
    fields = dict(rows.longest) if rows is not None else {}
    for name, turns in rows.chats.items() if rows is not None else ():
        fields[name] += _TURN * turns.most
    whole = sum(fields.values())
    usual = None
    if characters == "auto":
        half, most = np.quantile([len(text) for text in texts], (0.5, 0.95))
        characters, usual = (int(np.clip(_LONGER * length, _LEAST, 4_000)) for length in (most, half))
        characters = max(characters, whole)
    elif whole > characters:
        fields = {name: max(1, most * characters // whole) for name, most in fields.items()}
    most, room = config.generate.rows_per_call, config.llm.context / 2
    shape = RowShape(characters, most, most, room, given, fields)
    # What is planned for is a row of middling length; each call says how many of its own fit.
    planned = shape._for(characters if usual is None or fields else usual)
    return replace(shape, rows_per_call=planned.rows_per_call)


@dataclass(frozen=True)
class Call:
    """A request, and what it was made of. `cluster` has the id, label and members (real rows shown);
    `characters` is how long a row may be, `count` how many are asked for.
    """

    label: str
    cluster: dict[str, Any]
    attributes: dict[str, str]
    request: ChatRequest
    characters: int
    count: int
    rows: FieldRows | None = None


@dataclass(frozen=True)
class Desk:
    """What every request for rows is made with: settings, prompts, the form of asking and the real texts.

    `rows` has the real rows' fields where they are made of several; `hidden` rows are shown to no model.
    """

    config: Config
    prompts: Prompts
    shape: RowShape
    form: str
    texts: list[str]
    hidden: frozenset[int] = frozenset()
    rows: FieldRows | None = None

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
        values = {
            "task": self.prompts.task,
            "label": label,
            "labelled": labelled(config, label),
            "attributes": attributes,
            "fields": self.rows.fields.descriptions if self.rows is not None else {},
        }
        members = cluster["members"] if config.generate.show_demonstrations else []
        texts = [self.texts[i] for i in members]
        # A list goes on as it began, and what a small model writes beyond that is of no use.
        shape = self.shape.of(shown(texts) if self.form in LISTS else texts)
        make = self._list if self.form in LISTS else self._json
        request = make(values, members, shape, contrast)
        seed = draw_seed(config, f"{use} {label}", number)
        request = ChatRequest(
            model=config.llm.model,
            max_tokens=shape.max_tokens,
            temperature=temperature(config, self.form),
            top_p=config.llm.top_p,
            seed=seed,
            **request,
        )
        return Call(label, cluster, attributes, request, shape.characters, shape.rows_per_call, self.rows)

    def _json(
        self,
        values: dict[str, Any],
        members: list[int],
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
                Message("assistant", self._example(members)),
            ]
        demonstrations = self._items(members) if self.prompts.own else []
        content = render(
            template,
            values | told | {"demonstrations": demonstrations, "count": count, "again": bool(messages)},
        )
        # Small models stop after a row or two unless the grammar holds them to more; an answer that was cut
        # off still counts when most of its rows are whole.
        fewest = count // 2 + 1
        if self.rows is not None:
            schema = self.rows.schema(shape.fields, fewest, count)
        else:
            item = {"type": "string", "minLength": FEWEST_CHARACTERS, "maxLength": shape.characters}
            rows = {"type": "array", "items": item, "minItems": fewest, "maxItems": count}
            schema = {
                "type": "object",
                "properties": {"texts": rows},
                "required": ["texts"],
                "additionalProperties": False,
            }
        return {"messages": (*messages, Message("user", content)), "schema": schema}

    def _example(self, members: Sequence[int]) -> str:
        """Real rows as an answer."""
        if self.rows is not None:
            return self.rows.example(shown_values([self.rows.real[i] for i in members]))
        return json.dumps({"texts": self._items(members)}, ensure_ascii=False)

    def _items(self, members: Sequence[int]) -> list[str]:
        """Real rows as items of a list."""
        if self.rows is not None:
            return [self.rows.item(row) for row in shown_values([self.rows.real[i] for i in members])]
        return shown([self.texts[i] for i in members])

    def _list(
        self,
        values: dict[str, Any],
        members: list[int],
        shape: RowShape,
        contrast: tuple[Sequence[str], Sequence[str]],
    ) -> dict[str, Any]:
        # A list goes on as it began: a bad row in it would bring more of its kind.
        del contrast
        content = render(self.prompts.rows_list_template, values | {"demonstrations": self._items(members)})
        if self.rows is not None:
            grammar = self.rows.grammar(shape.fields, shape.rows_per_call)
        else:
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
    lineage = {
        "label": call.label,
        "asked_label": call.label,
        "cluster": call.cluster["cluster"],
        "demonstrations": call.cluster["members"],
        "attributes": json.dumps(call.attributes),
        "prompt_hash": prompt_hash(call.request),
        "model": outcome.response.model,
    }
    return [{**made, **lineage} for made in _made(call, outcome, outcome.response.text)]


def _made(call: Call, outcome: Outcome, text: str) -> list[dict[str, str]]:
    """Text and fields of each row of an answer."""
    if call.rows is not None:
        fields = call.rows.fields
        if call.request.continues:
            values = call.rows.of_list(text)
        else:
            values = call.rows.of_answer(outcome.value) if outcome.value is not None else []
        return [{"text": fields.text(row), **fields.columns(row)} for row in values]
    if call.request.continues:
        texts = list_items(text)
    else:
        texts = [plain(item) for item in outcome.value["texts"]] if outcome.value is not None else []
    return [{"text": item} for item in texts]


def make_desk(
    config: Config,
    prompts: Prompts,
    form: str,
    real: Sequence[Mapping[str, Any]],
    fields: Fields,
    hidden: frozenset[int] = frozenset(),
) -> Desk:
    """The desk for real rows as the stage load left them."""
    texts = [row["text"] for row in real]
    rows = FieldRows(fields, [fields.values(row) for row in real]) if fields else None
    return Desk(config, prompts, row_shape(config, texts, rows), form, texts, hidden, rows)
