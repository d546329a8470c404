"""Which new rows are kept. Every row that is dropped is dropped for one stated reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from synalign_jax.pipeline.asking.calls import FEWEST_CHARACTERS, Desk
from synalign_jax.pipeline.asking.prompts import ROWS_SAMPLE, Prompts, render
from synalign_jax.pipeline.data.duplicates import TextIndex

from .echo import Echoes
from .kind import breaks_off, learn_kind, rules_that_hold

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
        if desk.config.generate.of_the_kind:
            kinds = [
                self._echoes.verdict,
                learn_kind(texts).verdict,
                partial(breaks_off, most=desk.shape.characters),
            ]
            self._rules += rules_that_hold(kinds, texts)
        self._checks_echoes = self._echoes.verdict in self._rules
        self._real, self._earlier = TextIndex(), TextIndex()
        for text in texts:
            self._real.add(text)

    def cleaned(self, text: str) -> str:
        """The text without what stands before it and is no part of it."""
        return self._echoes.strip(text)

    def unlike(self, row: dict[str, Any]) -> str | None:
        """Why the row is no text of the kind, or None; nothing is remembered."""
        text = row["text"]
        if len(text) < FEWEST_CHARACTERS:
            return "blank"
        for rule in self._rules:
            if (reason := rule(text)) is not None:
                return reason
        if self._checks_echoes:
            return self._echoes.verdict(text, json.loads(row["attributes"]).values())
        return None

    def verdict(self, row: dict[str, Any]) -> str | None:
        """Why a row is dropped, or None when it is kept and remembered."""
        reason = self.unlike(row)
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
