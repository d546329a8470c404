"""One self-contained HTML file that says what a run did and whether it worked."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from synalign_jax.evaluation import svg
from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.figures import accuracy_figure, distance_figure

from .facts import ReportFacts
from .verdict import Verdict, distance_verdict, gain_verdict
from .worth import worth_verdict

MAX_ROWS = 300


def render_report(facts: ReportFacts) -> str:
    """The report as one HTML page that loads nothing: style and script are inside, named by hash in its
    Content-Security-Policy, so that nothing in a row's text could run or be fetched even if it were not
    escaped. At most MAX_ROWS rows are shown, evenly spaced over those given.
    """
    style, script = svg.stylesheet() + _asset("report.css"), _asset("report.js")
    distance = facts.distance
    rows = facts.rows
    shown = [rows[i * len(rows) // MAX_ROWS] for i in range(MAX_ROWS)] if len(rows) > MAX_ROWS else rows
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        facts=facts,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=policy_hash(style),
        script_hash=policy_hash(script),
        worth_verdict=facts.worth and worth_verdict(facts.worth),
        distance_verdict=distance and distance_verdict(distance),
        ruler=distance and distance_figure(distance.before, distance.after, distance.noise),
        accuracy=facts.students and accuracy_figure(facts.students),
        gains=_gains(facts),
        rows=shown,
        labels=sorted({row.label for row in shown}),
    )


def rows_shown(weights: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, in their order: the heaviest, the lightest, and even steps between."""
    order = np.argsort(-weights, kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, min(most, len(order))).astype(int)])


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


def _gains(facts: ReportFacts) -> list[Verdict]:
    if facts.students is None:
        return []
    baseline = facts.students.baseline
    return [gain_verdict(s, baseline) for s in facts.students.scores if s.gain and s.name in facts.judged]


def _asset(name: str) -> str:
    return files("synalign_jax.evaluation.report").joinpath("assets", name).read_text(encoding="utf-8")


def policy_hash(content: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline block."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _finalize(value: object) -> object:
    """What every {{ expression }} of the template passes through before it is escaped."""
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _readable_setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FunctionLoader(_asset),
    autoescape=True,
    finalize=_finalize,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["plain"] = _readable_setting
_ENVIRONMENT.filters["percent"] = lambda value: f"{value:.1%}"
_ENVIRONMENT.filters["count"] = lambda value: f"{value:,.0f}"
_ENVIRONMENT.filters["small"] = lambda value: f"{value:.3g}".replace("-", "−")
_ENVIRONMENT.filters["points"] = lambda value: f"{100 * value:+.1f}".replace("-", "−")
