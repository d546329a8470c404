"""What the report's page does in a browser; skipped where there is none."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from synalign_jax.evaluation import Distance, Figure, ReportFacts, SyntheticRow, plane_figures, write_report
from synalign_jax.evaluation.report.facts import Kind, Kinds, Use, WentIn
from synalign_jax.evaluation.report.kinds import weights_facts

HOSTILE = (
    "</style></script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)
WIDE = "W" * 400
ROWS = 41


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that lies on this machine; none is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on the path")
    with playwright.sync_playwright() as driver:
        try:
            opened = driver.chromium.launch(
                executable_path=path,
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
        except playwright.Error as error:
            pytest.skip(f"{path} does not start: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


def _facts() -> ReportFacts:
    rng = np.random.default_rng(0)
    real, pool = rng.normal(size=(30, 5)), rng.normal(size=(50, 5))
    before, after, _ = plane_figures(real, pool, pool[:20])
    row = SyntheticRow("", "", 1.0, True, (WIDE,), {WIDE: WIDE}, WIDE, 0.4, WIDE)
    texts = [f"a text of its own {i}" for i in range(ROWS - 3)] + [HOSTILE, WIDE]
    rows = tuple(
        replace(row, text=text, label=f"label {i % 2}", weight=float((7 * i) % ROWS), nearest_distance=i / 10)
        for i, text in enumerate(texts)
    )
    long = replace(rows[0], text="a line of a long text\n" * 60 + "the end", label="a | b", labels=("a", "b"))
    rows = (*rows[:-1], replace(rows[-1], labels=()), replace(long, weight=0.5))
    kinds = Kinds("label", (Kind(WIDE, 0.2, 0.3, 0.5), Kind("x", 0.8, 0.7, 0.5)))
    return ReportFacts(
        title=HOSTILE,
        created="today",
        warnings=(WIDE,),
        went_in=(WentIn("real rows", WIDE, 3, 3, WIDE, WIDE, WIDE, (WIDE,)),),
        distance=Distance(0.01, 0.001, (0.0005, 0.002), WIDE),
        use=Use(((WIDE, WIDE),), f"x = {WIDE!r}"),
        weights=weights_facts(np.arange(1.0, 51.0)),
        kinds=(kinds,),
        rows=rows,
        maps=(Figure("Where", WIDE, (("before", before), ("after", after))),),
        settings={WIDE: WIDE},
    )


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = write_report(_facts(), tmp_path_factory.mktemp("report") / "report.html")
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    opened = context.new_page()
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    context.close()


def _shown(page: Any) -> list[str]:
    return page.locator("#rows > li:visible .text").all_inner_texts()


def test_nothing_runs_nothing_is_asked_for_and_nothing_complains(page: Any) -> None:
    assert page.title() == HOSTILE
    assert page.said == []
    assert page.asked == [page.url]
    assert page.locator("img").count() == 0


def test_a_phone_shows_it_without_scrolling_sideways_even_opened_up(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")


def test_the_heaviest_rows_come_first_and_more_on_request(page: Any) -> None:
    weights = page.locator("#rows > li:visible").evaluate_all("all => all.map(one => +one.dataset.weight)")
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == ROWS - 1
    assert len(weights) < ROWS
    page.get_by_role("button", name="Show more rows").focus()
    page.keyboard.press("Enter")
    assert len(_shown(page)) == ROWS
    assert not page.get_by_role("button", name="Show more rows").is_visible()


def test_rows_are_found_filtered_and_sorted(page: Any) -> None:
    page.get_by_label("Find").fill("ITS OWN 1")
    assert _shown(page)
    assert all("its own 1" in text for text in _shown(page))
    page.locator("#label").select_option(label="label 1")
    assert sorted(_shown(page)) == [f"a text of its own {i}" for i in (1, 11, 13, 15, 17, 19)]
    assert page.locator("#count").inner_text() == f"6 of 6 shown, {ROWS - 6} filtered out"
    page.get_by_label("Sort by").select_option(label="distance, farthest first")
    assert _shown(page)[0] == "a text of its own 19"
    page.get_by_label("Sort by").select_option(label="weight, lowest first")
    lightest = min((1, 11, 13, 15, 17, 19), key=lambda i: 7 * i % ROWS)
    assert _shown(page)[0] == f"a text of its own {lightest}"
    page.get_by_label("Find").fill("no such row")
    assert _shown(page) == []
    page.get_by_label("Find").fill("")
    for label, text in (("a", "a line of a long text"), ("b", "a line of a long text"), ("(none)", WIDE)):
        page.locator("#label").select_option(label=label)
        assert [shown[: len(text)] for shown in _shown(page)] == [text]
    page.locator("#label").select_option(label="all")


def test_a_long_text_is_shown_whole_on_request(page: Any) -> None:
    page.get_by_label("Find").fill("a line of a long text")
    text = page.locator("#rows > li:visible .text")
    assert text.evaluate("one => one.scrollHeight > one.clientHeight + 1")
    button = page.get_by_role("button", name="Show the whole text")
    button.focus()
    page.keyboard.press("Enter")
    assert text.evaluate("one => one.scrollHeight <= one.clientHeight + 1")
    assert page.get_by_role("button", name="Show less").get_attribute("aria-expanded") == "true"
    page.get_by_role("button", name="Show less").click()
    assert text.evaluate("one => one.scrollHeight > one.clientHeight + 1")
    page.get_by_label("Find").fill("a text of its own 1")
    assert page.get_by_role("button", name="Show the whole text").count() == 0
    page.get_by_label("Find").fill("")


def test_the_page_is_read_out_by_its_roles(page: Any) -> None:
    assert page.get_by_role("navigation").get_by_role("link").count() == page.locator("h2").count()
    page.get_by_role("link", name="What changed?").click()
    assert page.url.endswith("#changed")
    assert page.get_by_role("img").count() == page.locator("svg").count()
    assert page.get_by_role("columnheader").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Any, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1."""
    page.emulate_media(color_scheme=scheme)
    colours = page.evaluate(
        """() => {
          const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
          const style = getComputedStyle(document.documentElement);
          const of = (name) => {
            probe.fillStyle = style.getPropertyValue(name).trim();
            probe.fillRect(0, 0, 1, 1);
            return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
          };
          const names = ["--paper", "--card", "--ink", "--quiet", "--real", "--mixed"];
          return Object.fromEntries(names.map((name) => [name, of(name)]));
        }"""
    )

    def light(colour: list[int]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ground in ("--paper", "--card"):
        for name in ("--ink", "--quiet", "--real", "--mixed"):
            high, low = sorted((light(colours[ground]), light(colours[name])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, ground, name)


def test_paper_is_light_whatever_the_screen_is(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert sum(map(int, re.findall(r"\d+", ink))) < 3 * 80
    assert not page.locator("nav").is_visible()
    assert not page.locator("#controls").is_visible()
    page.emulate_media(media="screen", color_scheme="dark")
