"""Which new rows are kept. Every row that is dropped is dropped for one stated reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from synalign_jax.llm.driver import Outcome
from synalign_jax.pipeline.asking.calls import FEWEST_CHARACTERS, Call, Desk, rows_of
from synalign_jax.pipeline.asking.prompts import ROWS_SAMPLE, Prompts, render
from synalign_jax.pipeline.data.duplicates import TextIndex

from .echo import Echoes
from .kind import breaks_off, learn_kind, rules_that_hold, without_the_last
from .repeats import learn_repeats

Rule = Callable[[str], str | None]


class Sieve:
    """Keeps new rows; drops what is no text of the kind, and repetitions of real and of earlier rows."""

    def __init__(
        self,
        desk: Desk,
        labels: Sequence[str],
        more: Sequence[Rule] = (),
    ) -> None:
        texts, prompts = desk.texts, desk.prompts
        self._echoes = Echoes(_requests(prompts, labels), [*prompts.attributes, "length"], labels, texts)
        self._rules: list[Rule] = list(more)
        self._of_the_kind = desk.config.generate.of_the_kind
        ends = partial(breaks_off, most=desk.shape.characters)
        kinds = [self._echoes.verdict, learn_kind(texts).verdict, learn_repeats(texts).verdict, ends]
        holding = rules_that_hold(kinds, texts) if self._of_the_kind else []
        self._checks_echoes, self._checks_ends = self._echoes.verdict in holding, ends in holding
        self._rules += [rule for rule in holding if rule is not ends]
        self._real, self._earlier = TextIndex(), TextIndex()
        for text in texts:
            self._real.add(text)

    def sift(self, call: Call, outcome: Outcome | None) -> list[tuple[dict[str, Any], str | None]]:
        """The rows of an answer, without what is no part of them, and why each is dropped; None where it is
        kept and remembered."""
        found: list[tuple[dict[str, Any], str | None]] = []
        for row in rows_of(call, outcome):
            row["text"] = self._echoes.strip(row["text"])
            if self._of_the_kind:
                row["text"] = without_the_last(row["text"], most=call.characters)
            found.append((row, self._verdict(row, call.characters)))
        return found

    def _unlike(self, row: dict[str, Any], most: int) -> str | None:
        text = row["text"]
        if len(text) < FEWEST_CHARACTERS:
            return "blank"
        for rule in self._rules:
            if (reason := rule(text)) is not None:
                return reason
        if self._checks_ends and (reason := breaks_off(text, most=most)) is not None:
            return reason
        if self._checks_echoes:
            return self._echoes.verdict(text, json.loads(row["attributes"]).values())
        return None

    def _verdict(self, row: dict[str, Any], most: int) -> str | None:
        reason = self._unlike(row, most)
        text = row["text"]
        if reason is None and self._real.find(text) is not None:
            reason = "copy of a real row"
        if reason is None and self._earlier.find(text) is not None:
            reason = "repeats an earlier row"
        if reason is None:
            self._earlier.add(text)
        return reason


def _requests(prompts: Prompts, labels: Sequence[str]) -> list[str]:
    """What is asked, with no real row in it."""
    empty = {
        **ROWS_SAMPLE,
        "task": prompts.task,
        "demonstrations": [],
        "attributes": dict(prompts.attributes),
    }
    templates = (prompts.rows_template, prompts.rows_list_template)
    return [render(template, {**empty, "label": label}) for template in templates for label in labels]
