"""Who checks labels in a run: each is measured on the real rows first, and not used if it knows nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import BudgetReached, ChatRequest, LLMError
from synalign_jax.pipeline.asking.ask import Asker, budget, prices_of
from synalign_jax.pipeline.asking.calls import Desk
from synalign_jax.pipeline.config import Config, Llm, caps_of
from synalign_jax.pipeline.seeds import generator

from .generation import Check
from .judge import Judge
from .student import FEWEST, student_of
from .till import Till


def judging(config: Config) -> Llm:
    """The settings of the endpoint that judges: its own, under the caps of the run."""
    own = config.judge.endpoint
    if own is None:
        return config.llm
    return msgspec.structs.replace(own, **caps_of(config))


class Checks:
    """Makes the checks that the settings ask for when they are first needed, and keeps what was found.

    Args:
        between: puts requests to the writing endpoint while the waves go on.
        judge: the endpoint that judges, if it is another.
        till: counts what the judge costs.
        say: told what the user must hear.
    """

    def __init__(
        self,
        desk: Desk,
        real_labels: Sequence[str],
        vectors: np.ndarray,
        *,
        between: Callable[[Sequence[ChatRequest]], Sequence[Outcome | None]],
        judge: Asker | None,
        till: Till,
        say: Callable[[str], None],
    ) -> None:
        self._desk, self._labels, self._vectors = desk, real_labels, vectors
        self._between, self._judge, self._till, self._say = between, judge, till, say
        self.facts: dict[str, Any] = {}

    def __call__(self) -> Iterator[Check]:
        """The student is made at once; the judge is measured when it is reached, for that costs money, which
        the rows that are asked for at the start still hold.
        """
        if len(set(self._labels)) < 2:
            return iter(())
        return itertools.chain(self._student(), self._judged())

    def _student(self) -> list[Check]:
        if not self._desk.config.judge.student:
            return []
        rare = sorted(label for label, count in Counter(self._labels).items() if count < FEWEST)
        student = student_of(self._desk.config, self._vectors, self._labels)
        if student is None:
            self._say(
                f"fewer than two labels have {FEWEST} real rows, too few for a student of them to check the"
                " labels of new ones"
            )
            return []
        self.facts["student_accuracy"] = round(student.accuracy, 3)
        if student.usable:
            if rare:
                self._say(
                    f"labels with fewer than {FEWEST} real rows are not checked: {', '.join(map(repr, rare))}"
                )
            return [student]
        self._say(
            f"a student of the real rows names {student.accuracy:.0%} of the labels of {len(self._labels)} of"
            " them, which guessing might do as well: it does not check the new ones"
        )
        return []

    def _judged(self) -> Iterator[Check]:
        config = self._desk.config
        if not config.judge.llm:
            return
        judge = Judge(config, judging(config), self._desk.prompts, sorted(set(self._labels)), self._ask)
        found = judge.measure(self._desk.texts, self._labels, generator(config.run.seed, "judge"))
        self.facts["judge_agreement"] = round(found.accuracy, 3)
        if found.usable:
            yield judge
        else:
            self._say(
                f"the judge names the label of {found.right} of {found.rows} real rows ({found.answered}"
                " answered), no better than chance: it is not used"
            )

    def _ask(self, requests: Sequence[ChatRequest]) -> Sequence[Outcome | None]:
        config = self._desk.config
        if self._judge is None:
            outcomes, prices = self._between(requests), prices_of(config)
        else:
            outcomes, own = self._ask_other(self._judge, requests), judging(config)
            price = budget(config.llm, own).price
            prices = {own.model: price} if price is not None else {}
        for outcome in outcomes:
            self._till.count(outcome, prices)
        return outcomes

    def _ask_other(self, judge: Asker, requests: Sequence[ChatRequest]) -> Sequence[Outcome | None]:
        try:
            return judge.ask("generate: judge", requests)
        except BudgetReached:
            return [None] * len(requests)
        except LLMError as error:
            # Rows that are paid for are not lost for a judge that is not there.
            self._say(f"the judge could not be asked: {error}")
            return [None] * len(requests)
