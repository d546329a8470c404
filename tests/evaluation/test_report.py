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
    write_report,
)
from synalign_jax.evaluation.cleaning import readable
from synalign_jax.evaluation.figures import length_figure
from synalign_jax.evaluation.measures.measure import Measure, Spread
from synalign_jax.evaluation.report import MAX_ROWS, rows_shown
from synalign_jax.evaluation.report.facts import (
    Copies,
    Course,
    Kind,
    Kinds,
    ModelRows,
    Prompt,
    Use,
    Wave,
    WentIn,
    Worth,
    WorthRow,
)
from synalign_jax.evaluation.report.kinds import weights_facts
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
    kinds = Kinds(text, (Kind(text, 0.2, 0.3, 0.5), Kind("x", 0.8, 0.7, 0.5)), 3, text)
    spread = Spread(0.5, 0.1)
    return ReportFacts(
        title=text,
        created=text,
        command=text,
        warnings=(text,),
        went_in=(WentIn(text, text, 30, 31, text, text, text, (text,)),),
        distance=Distance(0.01, 0.001, (-1e-4, 0.002), text, 0.003),
        measures=(Measure(text, text, text, text, spread, spread, spread),),
        worth=Worth("use", text, 0.5, 15.0, (WorthRow(text, 0.5, 0.7, 0.1, 0.02, True),)),
        use=Use(((text, text),), text),
        students={text: Comparison(scores, "few", 400, (text,), 8, 0.95)},
        judged=(text,),
        weights=weights_facts(rng.uniform(size=50)),
        weights_note=text,
        kinds=(kinds,),
        lengths=length_figure(["a b c"], ["a", "two words"], [1, 2]),
        words=kinds,
        copies=Copies(50, {text: 2}, 3, ((text, text),)),
        rows=(
            *(row,) * 3,
            *(replace(row, weight=0.1 * i, text=f"{i} {text}", chosen=False) for i in range(1, 6)),
        ),
        maps=(Figure(text, text, ((text, before), (text, after))),),
        maps_note=text,
        usage=LLMUsage(text, text, 10, 1, 1_000, 200, 2.0, 0.5),
        models=(ModelRows(text, 30, 1.2, 0.7), ModelRows(text, 20, 0.7, 0.3)),
        prompts=(Prompt(text, ((text, text),)),),
        course=Course(
            tuple(
                Wave(i, 10 * i, 5 * i, 0.1 * i, 0.1 / i, 0.01, None if i < 3 else 0.2) for i in range(1, 5)
            ),
            text,
        ),
        losses={text: 3},
        making=(Figure(text, text, (("", coverage_figure({text: [0.1, 0.5]})),)),),
        stages=(Stage(text, 5, 0.1, text), Stage("x", None, 0.0)),
        settings={text: text, "numbers": (1, 2), "none": None, "no": False},
    )


PLAIN = _Page(render_report(_facts()))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_adds_an_element_or_an_attribute(text: str) -> None:
    page = _Page(render_report(_facts(text)))
    shape = [(tag, sorted(attributes)) for tag, attributes in page.elements]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in PLAIN.elements]


@settings(max_examples=25)
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
        assert not {"src", "xlink:href", "style", "srcset", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
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
    assert len(page) < 300_000


def test_of_many_rows_the_heaviest_and_the_lightest_are_listed() -> None:
    facts = _facts()
    many = 3 * MAX_ROWS
    rows = tuple(replace(facts.rows[0], text=f"row {i}.", weight=float(i)) for i in range(many))
    page = render_report(replace(facts, rows=rows, weights=weights_facts(np.arange(1.0, many + 1))))
    assert page.count("<li data-order") == MAX_ROWS
    assert f"{MAX_ROWS} of {many} rows: those of highest and of lowest weight" in page
    listed = [int(number) for number in re.findall(r'<p class="text" dir="auto">row (\d+)\.', page)]
    assert listed == sorted(listed, reverse=True)
    third = MAX_ROWS // 3
    assert listed[:third] == [*range(many - 1, many - third - 1, -1)]
    assert listed[-third:] == [*range(third - 1, -1, -1)]
    most, least = re.findall(r'<ol class="brief">(.*?)</ol>', page)
    assert re.findall(r"row (\d+)", most) == ["899", "898", "897"]
    assert re.findall(r"row (\d+)", least) == ["0", "1", "2"]


def test_all_of_a_few_rows_are_shown_in_their_order() -> None:
    np.testing.assert_array_equal(rows_shown(np.array([0.3, 0.1, 0.6]), 3), [0, 1, 2])
    assert len(rows_shown(np.random.default_rng(0).uniform(size=1_000), 10)) == 10


QUESTIONS = [
    "What went in?",
    "Is it like the real text?",
    "Should I use it, and how?",
    "What changed?",
    "Where does it lie?",
    "How was it made?",
]


def test_the_questions_stand_in_their_order_and_are_linked() -> None:
    page = render_report(_facts())
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == QUESTIONS
    for anchor in re.findall(r'href="#([\w-]+)"', page):
        assert page.count(f'id="{anchor}"') == 1


def test_conflicting_labels_are_counted_beside_copies_and_leaks() -> None:
    facts = _facts("x")
    for count, words in (
        (0, None),
        (1, "one row has a text that stands"),
        (7, "7 rows have a text that stands"),
    ):
        page = render_report(replace(facts, copies=Copies(50, {}, 0, (), count)))
        assert ("Conflicting labels" in page) == bool(count)
        assert words is None or words in page.partition("Copies and leaks")[2]


def test_questions_with_nothing_to_say_are_left_out() -> None:
    page = render_report(ReportFacts(title="Only a title", created="today"))
    assert "Only a title" in page
    assert "<h2" not in page
    assert "<nav" not in page
    some = ReportFacts(title="Two", created="today", distance=Distance(0.2, None, (0.0, 0.1), "rows"))
    page = render_report(replace(some, settings={"seed": 0}))
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == [QUESTIONS[1], QUESTIONS[5]]


def test_every_column_of_every_table_has_a_header() -> None:
    page = render_report(_facts())
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        heads = len(re.findall(r'<th scope="col"', table))
        for line in re.findall(r"<tr[^>]*>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL):
            assert line.count("<th scope=") == 1
            assert line.count("<td") + 1 == heads


def test_every_picture_tells_what_it_shows() -> None:
    pictures = [attributes for tag, attributes in PLAIN.elements if tag == "svg"]
    assert len(pictures) > 8
    assert all(a.get("role") == "img" and a.get("aria-label") for a in pictures)


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
