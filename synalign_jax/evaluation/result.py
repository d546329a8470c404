"""What an evaluation found: numbers, notes, and both as a table."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from .measures.copying import Copying
from .measures.measure import Measure
from .scores import Comparison, Estimate


@dataclass(frozen=True)
class Distances:
    """MMD^2 to real rows with equal weights and as weighted, and what chance alone gives at these sizes.

    Attributes:
        pool, weighted: MMD^2 (V-statistic; `weighted` of rows drawn by the weights); None without weights.
        band: 5 % and 95 % of MMD^2 when rows are dealt to the two sets at random: inside it is noise.
        p_value, weighted_p_value: chance of so large a distance between two sets of one law.
        rows: which real rows.
    """

    pool: float
    band: tuple[float, float]
    p_value: float
    weighted: float | None
    weighted_band: tuple[float, float] | None
    weighted_p_value: float | None
    rows: str


@dataclass(frozen=True)
class Share:
    """One value of an attribute: its share of the real rows, of the pool, and of the weighted pool."""

    attribute: str
    value: str
    real: float
    pool: float
    weighted: float | None


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What `evaluate` found; `print` shows it as a table, `summary()` is JSON's.

    Attributes:
        real_rows, pool_rows: rows given.
        effective_rows: Kish's effective sample size of the weights; None without them.
        students: head -> scores of every training set; empty where none could be trained (`notes` say why).
        distances: None with fewer than 4 real rows.
        measures: likeness, variety and wording, the real rows' own value beside each.
        copying: copied and repeated rows.
        shares: of labels and of the attributes given.
        notes: what a reader must know of these numbers.
    """

    real_rows: int
    pool_rows: int
    effective_rows: float | None
    students: dict[str, Comparison]
    distances: Distances | None
    measures: tuple[Measure, ...]
    copying: Copying
    shares: tuple[Share, ...]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Plain numbers, lists and texts; what could not be measured is None."""
        return _plain(dataclasses.asdict(self))

    def to_json(self) -> str:
        """`summary()` as JSON."""
        return json.dumps(self.summary(), indent=1, ensure_ascii=False)

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _lines(found: Evaluation) -> list[str]:
    weighted = found.effective_rows is not None
    head = f"{found.real_rows:,} real rows, a pool of {found.pool_rows:,}"
    lines = [head + (f" (effective by the weights: {found.effective_rows:,.0f})" if weighted else "")]
    for name, comparison in found.students.items():
        lines += ["", *_student_lines(name, comparison)]
    if found.distances is not None:
        lines += ["", *_distance_lines(found.distances)]
    if found.measures:
        title = f"{'measures, at equal sizes':<28} {'real rows':>14} {'pool':>14}"
        lines += ["", title + (f" {'weighted':>14}" if weighted else "") + "   good is"]
    for m in found.measures:
        cells = [m.real, m.pool] + ([m.weighted] if m.weighted is not None else [])
        row = " ".join(f"{f'{_short(c.value)} ± {_short(c.spread)}':>14}" for c in cells)
        lines.append(f"  {m.name:<26} {row}   {m.better}")
    lines += ["", *_copying_lines(found.copying)]
    if found.shares:
        lines += [
            "",
            f"{'shares':<28} {'real rows':>10} {'pool':>10}" + (f" {'weighted':>10}" if weighted else ""),
        ]
    for s in found.shares:
        cells = [s.real, s.pool] + ([s.weighted] if s.weighted is not None else [])
        lines.append(f"  {f'{s.attribute} = {s.value}'[:26]:<26} " + " ".join(f"{c:>10.1%}" for c in cells))
    lines += [f"Note: {note}" for note in found.notes]
    return lines


def _student_lines(name: str, comparison: Comparison) -> list[str]:
    percent = f"{comparison.confidence:.0%}"
    several = any(score.micro_f1 is not None for score in comparison.scores)
    lines = [
        f"{name} student on {comparison.test_rows:,} test rows"
        + (", yes or no to each label" if several else ""),
        f"  {'trained on':<26} {'rows':>7}  {f'accuracy ({percent})':<22} {'macro-F1':<22}"
        + (f" {'micro-F1':<22}" if several else "")
        + f" against {comparison.baseline}",
    ]
    for score in comparison.scores:
        gain = "" if score.gain is None else _interval(score.gain, signed=True)
        micro = "" if score.micro_f1 is None else f" {_interval(score.micro_f1):<22}"
        lines.append(
            f"  {score.name:<26} {score.rows:>7,}  {_interval(score.accuracy):<22}"
            f" {_interval(score.macro_f1):<22}{micro} {gain}"
        )
    names = [score.name for score in comparison.scores]
    lines.append(
        f"  {'F1 of each label' if several else 'F1 of each class':<26} {'tests':>7}  "
        + " ".join(f"{name:<22}" for name in names)
    )
    for i, label in enumerate(comparison.classes):
        own = [score.classes[i] for score in comparison.scores]
        cells = " ".join(f"{_interval(c.f1):<22}" for c in own)
        lines.append(f"  {label[:26]:<26} {own[0].test_rows:>7,}  {cells}")
    return lines


def _distance_lines(d: Distances) -> list[str]:
    def one(name: str, value: float, band: tuple[float, float], p: float) -> str:
        return f"  {name:<26} {value:.5f}   chance gives {band[0]:.5f} to {band[1]:.5f}   p = {p:.3f}"

    lines = [f"MMD² to {d.rows}", one("pool", d.pool, d.band, d.p_value)]
    if d.weighted is not None and d.weighted_band is not None and d.weighted_p_value is not None:
        lines.append(one("weighted", d.weighted, d.weighted_band, d.weighted_p_value))
    return lines


def _copying_lines(c: Copying) -> list[str]:
    lines = [
        "copying",
        f"  {c.distinct:,} of {c.rows:,} pool rows are distinct, {c.copies:,} copy a real row"
        " (case and punctuation aside)",
    ]
    if c.passages is not None:
        lines.append(f"  {c.passages:,} share eight words in a row with one ({c.passages / c.rows:.1%})")
    lines.append(f"  {c.closer / c.rows:.1%} lie nearer to a real row than 95 % of real rows do to another")
    return lines


def _interval(e: Estimate, *, signed: bool = False) -> str:
    form = "{:+.3f}" if signed else "{:.3f}"
    return f"{form.format(e.value)} ({form.format(e.lower)} to {form.format(e.upper)})".replace("-", "−")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
