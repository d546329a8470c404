"""What a report is made of: plain values, filled in by whoever ran the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from synalign_jax.evaluation.measures.measure import Measure
from synalign_jax.evaluation.scores import Comparison


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
class Distance:
    """MMD^2 of the synthetic rows to real rows that the alignment never saw.

    `after` is that of the weighted rows, None without weights, and `drawn` that of rows drawn by them.
    `noise` is the band in which real rows differ from other real rows at the same sizes: the ends of the
    null distribution, or of repeated splits. `rows` says which real rows, as "500 held-out real rows".
    """

    before: float
    after: float | None
    noise: tuple[float, float]
    rows: str
    drawn: float | None = None


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
    """Whether the rows are worth training on, from the training side alone.

    `share` and `total` are what all rows count for together, in multiples of the real rows and in rows.
    """

    decision: str
    text: str
    share: float
    total: float
    rows: tuple[WorthRow, ...]


@dataclass(frozen=True)
class Use:
    """How to take what was found: (file, what it holds) each, and lines of Python that load it."""

    files: tuple[tuple[str, str], ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Kind:
    """Rows of one kind, as shares of the real rows, of the pool as it is, and of the weighted pool. `real` is
    None where real rows have no such kinds.
    """

    value: str
    real: float | None
    pool: float
    weighted: float | None

    @property
    def change(self) -> float:
        return 0.0 if self.weighted is None else self.weighted - self.pool


@dataclass(frozen=True)
class Kinds:
    """Rows by the value of one thing ("label"); `left_out` values have a share too small to be shown."""

    name: str
    values: tuple[Kind, ...]
    left_out: int = 0
    note: str = ""


@dataclass(frozen=True)
class Weights:
    """How the weights are spread: `effective` rows (Kish), rows that get less than a tenth of the even
    weight, and the share of the weight that the heaviest tenth of the rows holds.
    """

    rows: int
    effective: float
    light: int
    heavy_share: float
    picture: Markup


@dataclass(frozen=True)
class Copies:
    """Rows of the pool that repeat an earlier one (by what: "exactly", ...), and those that copy a real row.

    `shown` are some of the latter: (row, real row). `conflicts` are rows whose text stands, in the pool or
    among the real rows, under another label too.
    """

    rows: int
    repeats: Mapping[str, int]
    leaks: int
    shown: tuple[tuple[str, str], ...] = ()
    conflicts: int = 0


@dataclass(frozen=True)
class SyntheticRow:
    """A synthetic row with its lineage. `weight` is a multiple of the even weight 1/m. `labels` are those
    of a row that may have several, and `label` is all of them in one.
    """

    text: str
    label: str
    weight: float
    chosen: bool
    demonstrations: tuple[str, ...]
    attributes: Mapping[str, Any]
    nearest_text: str
    nearest_distance: float
    model: str
    labels: tuple[str, ...] | None = None

    @property
    def all_labels(self) -> tuple[str, ...]:
        return (self.label,) if self.labels is None else self.labels or ("",)


@dataclass(frozen=True)
class Figure:
    """One or more pictures side by side. Only Markup, which the figures return, is taken as SVG."""

    title: str
    caption: str
    panels: tuple[tuple[str, Markup], ...]  # (heading, picture)


@dataclass(frozen=True)
class Stage:
    """One stage of the run: rows that came out of it, and the seconds it took."""

    name: str
    rows: int | None
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class LLMUsage:
    """What the LLM was asked and what that cost. `endpoint` is an address, never a secret; `cost` is in the
    currency of the prices that were given, None without prices.
    """

    model: str
    endpoint: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float | None = None


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
class Wave:
    """What was there after one wave of generation; the columns of `pipeline.loop.course.Point`."""

    wave: int
    rows: int
    calls: int
    cost: float | None
    distance: float | None
    band: float | None
    gain: float | None


@dataclass(frozen=True)
class Course:
    """How generation went, wave by wave, and why it ended."""

    waves: tuple[Wave, ...]
    ended: str


@dataclass(frozen=True)
class Prompt:
    """One request as it was sent, as (role, words) each, and what it was for."""

    what: str
    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReportFacts:
    """Everything the report says. Parts that a piece of work does not have stay None or empty, and are left
    out.

    `students` are the scores of several training sets by kind of student; `judged` names the sets that get a
    verdict of their own against the baseline. `lengths` is a picture, `words` and `kinds` are shares of rows.
    `weights_note` says which weights these are. `rows` should hold those of highest and of lowest weight.
    `maps_note` says what picture is missing. `losses` counts the rows that were made but not kept, by reason
    ("near-duplicate of an earlier row").
    """

    title: str
    created: str
    command: str = ""
    warnings: tuple[str, ...] = ()
    # What went in?
    went_in: tuple[WentIn, ...] = ()
    # Is it like the real text?
    distance: Distance | None = None
    measures: tuple[Measure, ...] = ()
    # Should I use it, and how?
    worth: Worth | None = None
    use: Use = field(default_factory=Use)
    students: Mapping[str, Comparison] = field(default_factory=dict)
    judged: tuple[str, ...] = ()
    # What changed?
    weights: Weights | None = None
    weights_note: str = ""
    kinds: tuple[Kinds, ...] = ()
    lengths: Markup | None = None
    words: Kinds | None = None
    copies: Copies | None = None
    rows: tuple[SyntheticRow, ...] = ()
    # Where does it lie?
    maps: tuple[Figure, ...] = ()
    maps_note: str = ""
    # How was it made?
    usage: LLMUsage | None = None
    models: tuple[ModelRows, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    course: Course | None = None
    losses: Mapping[str, int] = field(default_factory=dict)
    making: tuple[Figure, ...] = ()
    stages: tuple[Stage, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
