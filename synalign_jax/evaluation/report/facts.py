"""What a report is made of: plain values, filled in by whoever ran the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from synalign_jax.evaluation.metrics import Comparison


@dataclass(frozen=True)
class Stage:
    """One stage of the run: rows that came out of it, and the seconds it took."""

    name: str
    rows: int | None
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Distance:
    """MMD^2 of the synthetic rows to real rows that the alignment never saw.

    `noise` is the band in which real rows differ from other real rows at the same sizes: the ends of the
    null distribution, or of repeated splits. `rows` says which real rows, as "500 held-out real rows".
    """

    before: float
    after: float
    noise: tuple[float, float]
    rows: str


@dataclass(frozen=True)
class WorthRow:
    """One way to weigh the rows, judged on held-out real rows. `gain` is in cross-entropy, over the real rows
    alone, and `error` its standard error.
    """

    name: str
    share: float
    accuracy: float
    gain: float
    error: float
    chosen: bool


@dataclass(frozen=True)
class Worth:
    """Whether the rows are worth training on, from the training side alone. `code` loads the weights."""

    decision: str
    text: str
    rows: tuple[WorthRow, ...]
    code: str


@dataclass(frozen=True)
class LLMUsage:
    """What the LLM was asked and what that cost. `endpoint` is an address, never a secret."""

    model: str
    endpoint: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class ModelRows:
    """What the rows of one model count for.

    Attributes:
        model: its name.
        rows: that it wrote.
        weight: their mean weight, as a multiple of the even weight of all rows.
        weight_share: of the weights of all rows, those of its own.
    """

    model: str
    rows: int
    weight: float
    weight_share: float


@dataclass(frozen=True)
class WentIn:
    """Rows that a piece of work was given. `columns` and `labels` are one line each."""

    role: str
    files: str
    rows: int
    in_files: int
    columns: str
    labels: str
    vectors: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One or more pictures side by side. Only Markup, which figures.py returns, is taken as SVG."""

    title: str
    caption: str
    panels: tuple[tuple[str, Markup], ...]  # (heading, picture)


@dataclass(frozen=True)
class SyntheticRow:
    """A synthetic row with its lineage. `weight` is a multiple of the even weight 1/m."""

    text: str
    label: str
    weight: float
    chosen: bool
    demonstrations: tuple[str, ...]
    attributes: Mapping[str, Any]
    nearest_text: str
    nearest_distance: float
    model: str


@dataclass(frozen=True)
class ReportFacts:
    """Everything the report says. Parts that a run does not have stay None or empty and are left out.

    `losses` counts the rows that were made but not kept, by reason ("near-duplicate of an earlier row").
    `judged` names the training sets in `students` that get a verdict of their own against the baseline.
    """

    title: str
    created: str
    command: str = ""
    went_in: tuple[WentIn, ...] = ()
    worth: Worth | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    distance: Distance | None = None
    effective_rows: float | None = None
    pool_rows: int | None = None
    students: Comparison | None = None
    judged: tuple[str, ...] = ()
    losses: Mapping[str, int] = field(default_factory=dict)
    usage: LLMUsage | None = None
    models: tuple[ModelRows, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    rows: tuple[SyntheticRow, ...] = ()
