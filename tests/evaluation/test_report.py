import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synalign_jax.evaluation import (
    Comparison,
    Distance,
    Estimate,
    Figure,
    LLMUsage,
    ReportFacts,
    Stage,
    StudentScore,
    SyntheticRow,
    coverage_figure,
    plane_figures,
    render_report,
    weight_figure,
    write_report,
)
from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.report import MAX_ROWS
from synalign_jax.evaluation.report.page import policy_hash
from synalign_jax.evaluation.report.verdict import distance_verdict, gain_verdict

HOSTILE = [
    "<script>alert(1)</script>",
    "\"' onmouseover='alert(1)' x=\"",
    "</style></script><svg onload=alert(1)><img src=https://example.org/x.png>",
    "{{ 7 * 7 }}{% raw %}{# x #}",
    "NUL \x00 lone \ud800 reversed \u202e txet \u2066 zero\u200bwidth \x1b[31m",
    "A" * 100_000,
    "&lt;script&gt; ]]> -->",
    "שלום 한국어 👩‍👩‍👧 t̷̢̛͎̘͍",
]


class _Page(HTMLParser):
    """Collects elements and attributes, and the text between tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _facts(text: str = "a fine film") -> ReportFacts:
    """A report whose every free text is `text`."""
    rng = np.random.default_rng(0)
    real, pool = rng.normal(size=(30, 5)), rng.normal(size=(50, 5))
    estimate = Estimate(0.7, 0.65, 0.75)
    scores = (
        StudentScore("few", 30, 30.0, estimate, estimate, 0.01, None),
        StudentScore(text, 50, 20.0, estimate, estimate, 0.01, Estimate(0.02, -0.01, 0.05)),
    )
    before, after, _ = plane_figures(real, pool, pool[:20])
    row = SyntheticRow(text, text, 1.5, True, (text, text), {text: [text, 1]}, text, 0.4, text)
    return ReportFacts(
        title=text,
        created=text,
        command=text,
        settings={text: text, "numbers": (1, 2)},
        stages=(Stage(text, 5, 0.1, text), Stage("x", None, 0.0)),
        distance=Distance(0.01, 0.001, (-1e-4, 0.002), text),
        effective_rows=20.0,
        pool_rows=50,
        students=Comparison(scores, "few", 400, (text,), 8, 0.95),
        judged=(text,),
        losses={text: 3},
        usage=LLMUsage(text, text, 10, 1, 1_000, 200, 2.0),
        warnings=(text,),
        figures=(
            Figure(text, text, ((text, before), (text, after))),
            Figure(
                text,
                text,
                (("", weight_figure(rng.uniform(size=50))), ("", coverage_figure({text: [0.1, 0.5]}))),
            ),
        ),
        rows=(row,) * 3,
    )


PLAIN = _Page(render_report(_facts()))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_adds_an_element_or_an_attribute(text: str) -> None:
    page = _Page(render_report(_facts(text)))
    shape = [(tag, sorted(attributes)) for tag, attributes in page.elements]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in PLAIN.elements]


@settings(deadline=None, max_examples=25)
@given(st.text(min_size=1))
def test_any_text_at_all_leaves_the_page_as_it_is_and_can_be_saved(text: str) -> None:
    page = render_report(_facts(text))
    page.encode("utf-8")
    assert [tag for tag, _ in _Page(page).elements] == [tag for tag, _ in PLAIN.elements]


@pytest.mark.parametrize("text", ["plain", *HOSTILE], ids=range(len(HOSTILE) + 1))
def test_nothing_is_loaded_from_outside(text: str) -> None:
    page = _Page(render_report(_facts(text)))
    for tag, attributes in page.elements:
        assert tag not in {
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
            "use",
            "image",
            "foreignobject",
        }
        assert not {"src", "href", "xlink:href", "style", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]


def test_the_policy_allows_exactly_the_style_and_the_script_of_the_page() -> None:
    page = render_report(_facts())
    (policy,) = [a["content"] for _, a in PLAIN.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for kind in ("style", "script"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        assert f"{kind}-src '{policy_hash(inside)}'" in policy
        assert "url(" not in inside
        assert "@import" not in inside


def test_what_cannot_be_seen_is_spelt_out() -> None:
    words = "".join(_Page(render_report(_facts(HOSTILE[4]))).words)
    assert (
        "NUL [U+0000] lone [U+D800] reversed [U+202E] txet [U+2066] zero[U+200B]width [U+001B][31m" in words
    )
    assert "\u202e" not in words
    assert readable("שלום\n\ttab") == "שלום\n\ttab"


def test_an_endless_row_is_cut_and_its_length_named() -> None:
    page = render_report(_facts(HOSTILE[5]))
    assert "[100,000 characters in all]" in page
    assert len(page) < 200_000


def test_rows_beyond_the_limit_are_sampled_evenly() -> None:
    facts = _facts()
    rows = tuple(replace(facts.rows[0], text=f"row {i}.") for i in range(3 * MAX_ROWS))
    page = render_report(replace(facts, rows=rows))
    assert page.count("<li data-order") == MAX_ROWS
    assert f"{MAX_ROWS} of {3 * MAX_ROWS} rows, evenly spaced." in page
    assert "row 897." in page


def test_parts_that_a_run_lacks_are_left_out() -> None:
    page = render_report(ReportFacts(title="Only a title", created="today"))
    assert "Only a title" in page
    for heading in ("h-distance", "h-students", "h-rows", "h-settings"):
        assert heading not in page


@pytest.mark.parametrize(
    ("before", "after", "tone", "words"),
    [
        (0.010, 0.001, "good", "inside the noise band"),
        (0.001, 0.0005, "good", "already inside"),
        (0.001, 0.004, "bad", "pushed the synthetic rows out"),
        (0.010, 0.012, "bad", "did not help"),
        (0.010, 0.006, "mixed", "closed 50% of the gap"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(before: float, after: float, tone: str, words: str) -> None:
    verdict = distance_verdict(Distance(before, after, (0.0, 0.002), "rows"))
    assert verdict.tone == tone
    assert words in verdict.headline


@pytest.mark.parametrize(
    ("gain", "tone", "words"),
    [
        (Estimate(0.03, 0.01, 0.05), "good", "trains a better student"),
        (Estimate(-0.03, -0.05, -0.01), "bad", "trains a worse student"),
        (Estimate(0.03, -0.01, 0.07), "mixed", "no difference that this test can see"),
    ],
)
def test_a_gain_is_claimed_only_where_its_interval_leaves_out_zero(
    gain: Estimate, tone: str, words: str
) -> None:
    estimate = Estimate(0.7, 0.6, 0.8)
    verdict = gain_verdict(StudentScore("aligned", 5, 5.0, estimate, estimate, 0.01, gain), "few")
    assert verdict.tone == tone
    assert words in verdict.headline


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    assert write_report(_facts(), path) == path
    first = path.read_text(encoding="utf-8")
    assert first == render_report(_facts())

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(_facts("other"), path)
    assert path.read_text(encoding="utf-8") == first
    assert list(tmp_path.iterdir()) == [path]
