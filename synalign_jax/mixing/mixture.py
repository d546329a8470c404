"""What `mix` found: a weight for every row of the pool, what it is expected to bring, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Decision = Literal["use", "use at this share", "do not use", "unknown"]


class Gain(NamedTuple):
    """A difference and the ends of its 95 % interval."""

    value: float
    lower: float
    upper: float


class Candidate(NamedTuple):
    """One row of the table behind the choice, judged by cross-validation on the real rows.

    Attributes:
        name: how the pool is weighed.
        share: the pool's total weight over that of the real rows.
        loss: mean cross-entropy of a linear student on held-out real rows.
        error: standard error of `loss` less that of the real rows alone, row by row; 0 for these.
        accuracy: share of held-out real rows that the student labels rightly.
        effective_rows: how many evenly weighted rows of the sample the weights are worth.
        penalty: of the student, on rows of unit mean squared length and weights as given.
        chance: that it is the best of them all; what it counts for in the mean of them. 1 for the mean.
        chosen: whether the weights are this candidate's.
    """

    name: str
    share: float
    loss: float
    error: float
    accuracy: float
    effective_rows: float
    penalty: float
    chance: float
    chosen: bool


class Verdict(NamedTuple):
    """`decision` for programs and `text` for people; `sure` is the chance that the decision is right, between
    training with the pool so weighed and without it, as far as the real rows tell.
    """

    decision: Decision
    text: str
    sure: float


@dataclass(frozen=True)
class Mixture:
    """What `mix` found.

    Attributes:
        weights: (m,) of the pool's rows, on the scale on which each real row counts 1; all 0 where the pool
            is not worth using. `[1] * n` and these are the sample weights of any trainer.
        share: their sum over the number of real rows.
        expected_gain: accuracy with the pool so weighed less that of the real rows alone, on real rows held
            out of both. It is 0 where the pool is not used, and what it would have been is in `candidates`.
        loss_gain: the same in cross-entropy, positive where the pool helps; this is what was judged by.
        candidates: the table behind the choice, the real rows alone first and the mean of all last.
        verdict: whether to use the pool, before anything is trained.
        effective_rows: how many evenly weighted rows the weights are worth; 0 where they vanish.
        labels: label to total weight.
    """

    weights: np.ndarray
    share: float
    expected_gain: Gain
    loss_gain: Gain
    candidates: tuple[Candidate, ...]
    verdict: Verdict
    effective_rows: float
    labels: Mapping[Any, float]

    def __repr__(self) -> str:
        """What to read of it first: the weights and the table would fill the screen."""
        return (
            f"<Mixture of {len(self.weights):,} rows: {self.verdict.decision}; share {self.share:.2g},"
            f" {self.effective_rows:,.0f} effective rows. {self.verdict.text}>"
        )

    @property
    def chosen(self) -> Candidate | None:
        """The candidate whose weights these are; None without labels."""
        return next((candidate for candidate in self.candidates if candidate.chosen), None)

    def summary(self) -> dict[str, Any]:
        """Everything but the weights, as plain values."""
        return {
            "decision": self.verdict.decision,
            "verdict": self.verdict.text,
            "sure": self.verdict.sure,
            "share": self.share,
            "total_weight": float(self.weights.sum(dtype=np.float64)),
            "effective_rows": self.effective_rows,
            "expected_gain": self.expected_gain._asdict(),
            "loss_gain": self.loss_gain._asdict(),
            "labels": [{"label": label, "weight": weight} for label, weight in self.labels.items()],
            "candidates": [candidate._asdict() for candidate in self.candidates],
        }
