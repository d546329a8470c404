"""One self-contained HTML page that answers a person's questions about a set of synthetic rows."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

from synalign_jax.evaluation import svg
from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.figures.accuracy import accuracy_figure
from synalign_jax.evaluation.figures.course import course_figure
from synalign_jax.evaluation.figures.distance import distance_figure
from synalign_jax.evaluation.figures.kinds import Shares, shares_figure
from synalign_jax.evaluation.scores import Comparison

from .facts import Course, Kinds, ReportFacts, SyntheticRow
from .numbers import mmd2, percent, points
from .verdict import Verdict, distance_verdict, gain_verdict
from .wonlost import won_and_lost
from .worth import worth_verdict

MAX_ROWS = 300
_EXTREMES = 3  # rows of highest and of lowest weight that stand first
_BRIEF = 280  # characters of such a row


class Section(NamedTuple):
    """One question, the template that answers it, and the answer in a few words."""

    anchor: str
    title: str
    template: str
    answer: str = ""


class Students(NamedTuple):
    """One kind of student: its scores, their picture and the verdicts."""

    head: str
    scores: Comparison
    picture: Markup
    gains: list[Verdict]
    several: bool  # whether it says yes or no to each of several labels


def render_report(facts: ReportFacts) -> str:
    """The report as one HTML page that loads nothing: style and script are inside, named by hash in its
    Content-Security-Policy, so that nothing in a row's text could run or be fetched even if it were not
    escaped. At most MAX_ROWS rows are shown: the heaviest, the lightest, and some between. Questions on which
    there is nothing to say are left out.
    """
    style, script = svg.stylesheet() + _asset("report.css"), _asset("report.js")
    distance = facts.distance
    rows = _listed(facts.rows)
    verdicts = {
        "worth_verdict": facts.worth and worth_verdict(facts.worth),
        "distance_verdict": distance and distance_verdict(distance),
    }
    return _ENVIRONMENT.get_template("page.html.jinja").render(
        facts=facts,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=policy_hash(style),
        script_hash=policy_hash(script),
        sections=_sections(facts, verdicts["worth_verdict"], verdicts["distance_verdict"]),
        ruler=distance and distance_figure(distance.before, distance.after, distance.noise, name="weighted"),
        students=[_students(head, compared, facts.judged) for head, compared in facts.students.items()],
        won_and_lost=won_and_lost(facts.kinds),
        pictures=[(kinds, _picture(kinds), _titled(kinds)) for kinds in _all_kinds(facts)],
        rows=rows,
        total=facts.weights.rows if facts.weights else len(facts.rows),
        extremes=_extremes(facts.rows),
        labels=sorted({label for _, row in rows for label in row.all_labels}),
        courses=_courses(facts.course),
        priced=facts.course is not None and any(wave.cost is not None for wave in facts.course.waves),
        **verdicts,
    )


def rows_shown(weights: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, in their order: a third the heaviest, a third the lightest, and even steps
    between.
    """
    order = np.argsort(-weights, kind="stable")
    if len(order) <= most:
        return np.arange(len(order))
    third = most // 3
    between = np.linspace(third, len(order) - third - 1, most - 2 * third).astype(int)
    return np.sort(order[np.unique(np.r_[:third, between, len(order) - third : len(order)])])


def write_report(facts: ReportFacts, path: str | os.PathLike[str]) -> Path:
    """Write the report whole or not at all: to a temporary file beside `path`, then renamed over it."""
    path = Path(path)
    page = render_report(facts)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def policy_hash(content: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline block."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _sections(facts: ReportFacts, worth: Verdict | None, distance: Verdict | None) -> tuple[Section, ...]:
    """The questions that this report has something to say on, in their order."""
    rows = " and ".join(f"{side.rows:,} {side.role}" for side in facts.went_in)
    named = ""
    if facts.distance is not None and distance is not None:
        value = facts.distance.before if facts.distance.after is None else facts.distance.after
        named = f"MMD² {mmd2(value)}. {distance.headline}"
    changed = facts.weights or facts.kinds or facts.words or facts.lengths or facts.copies or facts.rows
    made = (
        facts.usage, len(facts.models) > 1, facts.prompts, facts.course, facts.losses, facts.making,
        facts.stages, facts.settings,
    )  # fmt: skip
    found = (
        (bool(facts.went_in), Section("went-in", "What went in?", "went_in.html.jinja", rows)),
        (
            bool(facts.distance or facts.measures),
            Section("likeness", "Is it like the real text?", "likeness.html.jinja", named),
        ),
        (
            bool(facts.worth or facts.use.files or facts.use.code or facts.students),
            Section("use", "Should I use it, and how?", "use.html.jinja", worth.headline if worth else ""),
        ),
        (bool(changed), Section("changed", "What changed?", "changed.html.jinja")),
        (
            bool(facts.maps or facts.maps_note),
            Section("where", "Where does it lie?", "where.html.jinja"),
        ),
        (any(map(bool, made)), Section("made", "How was it made?", "made.html.jinja")),
    )
    return tuple(section for there, section in found if there)


def _students(head: str, compared: Comparison, judged: tuple[str, ...]) -> Students:
    gains = [gain_verdict(s, compared.baseline) for s in compared.scores if s.gain and s.name in judged]
    several = any(s.micro_f1 for s in compared.scores)
    return Students(head, compared, accuracy_figure(compared), gains, several)


def _all_kinds(facts: ReportFacts) -> list[Kinds]:
    return [*facts.kinds, *([facts.words] if facts.words else [])]


def _titled(kinds: Kinds) -> str:
    """The heading over the shares of one thing."""
    if kinds.name == "word":
        return "Words that won and lost"
    return f"By {kinds.name}"


def _picture(kinds: Kinds) -> Markup:
    return shares_figure([Shares(k.value, k.real, k.pool, k.weighted) for k in kinds.values])


def _listed(rows: tuple[SyntheticRow, ...]) -> list[tuple[int, SyntheticRow]]:
    """(place, row) of those that are listed, the heaviest first."""
    shown = rows_shown(np.array([row.weight for row in rows]), MAX_ROWS).tolist() if rows else []
    return sorted(((place, rows[place]) for place in shown), key=lambda one: (-one[1].weight, one[0]))


def _extremes(rows: tuple[SyntheticRow, ...]) -> list[tuple[str, list[SyntheticRow]]]:
    order = sorted(rows, key=lambda row: -row.weight)
    if len(order) <= 2 * _EXTREMES or order[0].weight == order[-1].weight:
        return []
    return [("Counts most", order[:_EXTREMES]), ("Counts least", order[::-1][:_EXTREMES])]


def _courses(course: Course | None) -> list[tuple[str, Markup]]:
    """The course against rows, calls and, with prices, money."""
    measured = [wave for wave in course.waves if wave.distance is not None] if course else []
    if len(measured) < 2:
        return []
    units: list[tuple[str, list[Any]]] = [
        ("rows", [wave.rows for wave in measured]),
        ("calls", [wave.calls for wave in measured]),
        ("cost", [wave.cost for wave in measured]),
    ]
    distances = [wave.distance or 0.0 for wave in measured]
    bands, gains = [wave.band for wave in measured], [wave.gain for wave in measured]
    return [
        (unit, course_figure(spent, distances, bands, gains, unit=unit))
        for unit, spent in units
        if None not in spent and max(spent) > 0
    ]


def _asset(name: str) -> str:
    return files("synalign_jax.evaluation.report").joinpath("assets", name).read_text(encoding="utf-8")


def _finalize(value: object) -> object:
    """What every {{ expression }} of the template passes through before it is escaped."""
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _readable_setting(value: object) -> str:
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FunctionLoader(_asset),
    autoescape=True,
    finalize=_finalize,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "plain": _readable_setting,
    "percent": percent,
    "count": lambda value: f"{value:,.0f}",
    "points": points,
    "mmd2": mmd2,
    "short": _short,
    "minus": lambda text: text.replace("-", "−"),
    "brief": lambda text: text if len(text) <= _BRIEF else text[:_BRIEF].rstrip() + " …",
}
