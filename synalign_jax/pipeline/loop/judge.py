"""Labels checked by a model: several texts a question, and believed only as far as the real rows allow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.asking.lineage import draw_seed
from synalign_jax.pipeline.asking.prompts import Prompts, render, shown
from synalign_jax.pipeline.config import Config, Llm

from .chance import beats_chance

FAILS = "the judge finds another label"
NOT_ASKED = "\0"  # no label: labels are text
UNANSWERED = "the judge gave no answer"
_MEASURED = 48  # real rows that the judge is tried on
Ask = Callable[[Sequence[ChatRequest]], Sequence[Outcome | None]]


@dataclass(frozen=True)
class Agreement:
    """How a judge did on the real rows: asked about, answered, right; and whether that beats chance."""

    rows: int
    answered: int
    right: int
    usable: bool

    @property
    def accuracy(self) -> float:
        return self.right / self.rows if self.rows else 0.0


class Judge:
    """Names the label of texts, `questions` of them in one request.

    Args:
        ask: puts requests to the judging endpoint; None for what it could not answer.
        llm: the settings of that endpoint.
    """

    def __init__(self, config: Config, llm: Llm, prompts: Prompts, labels: Sequence[str], ask: Ask) -> None:
        self._config, self._llm, self._prompts, self._ask = config, llm, prompts, ask
        self._labels = sorted(labels)

    def measure(self, texts: Sequence[str], labels: Sequence[str], rng: np.random.Generator) -> Agreement:
        """How often it names the label that the real rows have; as many rows of each label as there are."""
        of_label = np.asarray(labels)
        turns = [rng.permutation(np.flatnonzero(of_label == label)) for label in self._labels]
        mixed = [int(t[k]) for k in range(max(map(len, turns))) for t in turns if k < len(t)][:_MEASURED]
        order: list[int] = rng.permutation(mixed).tolist()
        found = self.labels([texts[i] for i in order])
        said = [
            (labels[i], name) for i, name in zip(order, found, strict=True) if name not in (None, NOT_ASKED)
        ]
        right = sum(label == name for label, name in said)
        # What gets no answer is no agreement: a judge that answers nonsense must not pass by silence.
        return Agreement(len(order), len(said), right, beats_chance(right, [labels[i] for i in order]))

    def verdicts(
        self, rows: Sequence[dict[str, Any]], vectors: np.ndarray
    ) -> list[tuple[str | None, str | None]]:
        """(None, None) for a row whose label it names, else the reason and the label that it names."""
        del vectors
        found = self.labels([row["text"] for row in rows])
        verdicts: list[tuple[str | None, str | None]] = []
        for row, name in zip(rows, found, strict=True):
            if name in (row["label"], NOT_ASKED):
                verdicts.append((None, None))
            else:
                verdicts.append((UNANSWERED, None) if name is None else (FAILS, name))
        return verdicts

    def labels(self, texts: Sequence[str]) -> list[str | None]:
        """The label that it names for each text; None where there is no usable answer, NOT_ASKED where the
        budget had ended: what is paid for is not lost for want of a judge.
        """
        size = self._config.judge.questions
        groups = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        outcomes = self._ask([self._request(group) for group in groups]) if groups else []
        names: list[str | None] = []
        for group, outcome in zip(groups, outcomes, strict=True):
            if outcome is None:
                names += [NOT_ASKED] * len(group)
            elif outcome.response is None or outcome.value is None:
                names += [None] * len(group)
            else:
                names += outcome.value["labels"]
        return names

    def planned(self, texts: Sequence[str], rows: int) -> list[ChatRequest]:
        """Requests as they measure it on the real texts and ask about so many rows, for which the real texts
        stand in."""
        size, texts_again = self._config.judge.questions, itertools.cycle(texts)
        return [
            self._request(list(itertools.islice(texts_again, min(size, count - start))))
            for count in (min(len(texts), _MEASURED), rows)
            for start in range(0, count, size)
        ]

    def _request(self, texts: list[str]) -> ChatRequest:
        values = {"task": self._prompts.task, "labels": self._labels, "texts": shown(texts)}
        answer = {"type": "string", "enum": self._labels}
        count = {"minItems": len(texts), "maxItems": len(texts)}
        return ChatRequest(
            messages=(Message("user", render(self._prompts.judge_template, values)),),
            model=self._llm.model,
            max_tokens=32 + len(texts) * (8 + max(len(json.dumps(label)) for label in self._labels)),
            temperature=0.0,
            seed=draw_seed(self._config, "judge", 0),
            schema={
                "type": "object",
                "properties": {"labels": {"type": "array", "items": answer, **count}},
                "required": ["labels"],
                "additionalProperties": False,
            },
        )
