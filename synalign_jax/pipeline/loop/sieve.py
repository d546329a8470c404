"""Which new rows are kept. Every row that is dropped is dropped for one stated reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from synalign_jax.llm.driver import Outcome
from synalign_jax.pipeline.asking.calls import FEWEST_CHARACTERS, Call, Desk, rows_of
from synalign_jax.pipeline.asking.prompts import ROWS_SAMPLE, labelled, render
from synalign_jax.pipeline.data.duplicates import TextIndex, shingled

from .echo import Echoes
from .kind import breaks_off, learn_kind, rules_that_hold, without_the_last
from .repeats import learn_repeats
from .wording import learn_wording

Rule = Callable[[str], str | None]


class Sieve:
    """Keeps new rows; drops what is no text of the kind, and repetitions of real and of earlier rows."""

    def __init__(
        self,
        desk: Desk,
        real_labels: Sequence[str],
        more: Sequence[Rule] = (),
    ) -> None:
        """`real_labels` are those of the desk's texts."""
        texts, prompts, labels = desk.texts, desk.prompts, sorted(set(real_labels))
        self._fields = desk.rows
        self._echoes = Echoes(_requests(desk, labels), [*prompts.attributes, "length"], labels, texts)
        self._rules: list[Rule] = list(more)
        self._of_the_kind = desk.config.generate.of_the_kind
        self._repeats = learn_repeats(texts, real_labels)
        ends = partial(breaks_off, most=desk.shape.characters)
        kinds = [self._echoes.verdict, learn_kind(texts).verdict, learn_wording(texts).verdict, ends]
        holding = rules_that_hold(kinds, texts) if self._of_the_kind else []
        self._checks_echoes, self._checks_ends = self._echoes.verdict in holding, ends in holding
        self._rules += [rule for rule in holding if rule is not ends]
        self._ends: dict[str, list[Rule]] = {}
        if desk.rows is not None and self._of_the_kind:
            for name, longest in desk.shape.fields.items():
                values = [row[name] for row in desk.rows.real]
                self._ends[name] = rules_that_hold([partial(_cut_off, most=longest)], values)
        self._real, self._earlier = TextIndex(), TextIndex()
        for text in texts:
            self._real.add(text)

    def sift(self, call: Call, outcome: Outcome | None) -> list[tuple[dict[str, Any], str | None]]:
        """The rows of an answer, without what is no part of them, and why each is dropped; None where it is
        kept and remembered."""
        found: list[tuple[dict[str, Any], str | None]] = []
        for row in rows_of(call, outcome):
            repeated = None
            if self._fields is None:
                row["text"] = self._echoes.strip(row["text"])
                if self._of_the_kind:
                    text = without_the_last(row["text"], most=call.characters)
                    row["text"], repeated = self._repeats.beginning(text, row["asked_label"])
            elif self._of_the_kind:
                repeated = self._repeats.verdict(row["text"], row["asked_label"])
            found.append((row, self._verdict(row, call.characters, repeated)))
        return found

    def _unlike(self, row: dict[str, Any], most: int, repeated: str | None) -> str | None:
        text = row["text"]
        if len(text) < FEWEST_CHARACTERS:
            return "blank"
        if self._fields is not None and (reason := self._fault(row)) is not None:
            return reason
        for rule in self._rules:
            if (reason := rule(text)) is not None:
                return reason
        if repeated is not None:
            return repeated
        if self._checks_ends and (reason := breaks_off(text, most=most)) is not None:
            return reason
        if self._checks_echoes:
            return self._echoes.of_attributes(text, _values(row["attributes"]))
        return None

    def _fault(self, row: dict[str, Any]) -> str | None:
        """What is wrong with the fields of a row."""
        assert self._fields is not None
        values = self._fields.fields.values(row)
        if (reason := self._fields.fault(values)) is not None:
            return reason
        found = (rule(values[name]) for name, rules in self._ends.items() for rule in rules)
        return next((reason for reason in found if reason is not None), None)

    def _verdict(self, row: dict[str, Any], most: int, repeated: str | None) -> str | None:
        """`repeated`: why the row repeats itself, as `Repeats` says it."""
        reason = self._unlike(row, most, repeated)
        if reason is not None:
            return reason
        text = shingled(row["text"])
        if self._real.find(text) is not None:
            return "copy of a real row"
        if self._earlier.find(text) is not None:
            return "repeats an earlier row"
        self._earlier.add(text)
        return None


@lru_cache(maxsize=64)
def _values(attributes: str) -> tuple[str, ...]:
    """Of JSON that the rows of a call share."""
    return tuple(json.loads(attributes).values())


def _cut_off(value: str, *, most: int) -> str | None:
    """As `breaks_off`, of a field: a grammar cuts it at just its length, blanks at its end taken off."""
    return breaks_off(value, most=most) if most - 2 <= len(value) <= most else None


def _requests(desk: Desk, labels: Sequence[str]) -> list[str]:
    """What is asked, with no real row in it."""
    prompts = desk.prompts
    empty = {
        **ROWS_SAMPLE,
        "task": prompts.task,
        "demonstrations": [],
        "attributes": dict(prompts.attributes),
        "fields": desk.rows.fields.descriptions if desk.rows is not None else {},
    }
    templates = (prompts.rows_template, prompts.rows_list_template)
    return [
        render(template, {**empty, "label": label, "labelled": labelled(desk.config, label)})
        for template in templates
        for label in labels
    ]
