"""A preview: a few rows by the endpoint, on record for the run that follows."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from stub_server import Stub

import synalign_jax as sa
from synalign_jax.api.preview import Preview
from synalign_jax.pipeline.preview import Exchange, PreviewRow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("preview") / "out"


@pytest.fixture(scope="module")
def seen(settings, stub: Stub, cache: Path, folder: Path) -> tuple[Preview, list[str]]:
    """A preview in a running loop, and the requests that it sent."""
    before = len(stub.requests())

    async def cell() -> Preview:
        return sa.preview(
            settings(folder, llm={"prices": {"prompt": 1.0, "completion": 2.0}}), rows=4, progress=False
        )

    found = asyncio.run(cell())
    return found, stub.requests()[before:]


def test_it_makes_a_few_rows_of_every_label(seen: tuple[Preview, list[str]]) -> None:
    found, requests = seen
    assert Counter(row.label for row in found.rows) == {"negative": 3, "positive": 3}
    assert found.asked == 6
    assert found.usable == sum(row.dropped is None for row in found.rows) / 6
    assert len(requests) == 4, "attributes of a cluster and one call for rows, for each label"
    assert [exchange.what for exchange in found.exchanges] == ["attributes", "attributes", "rows", "rows"]
    assert all(exchange.error is None for exchange in found.exchanges)


def test_it_says_what_it_and_the_whole_cost(seen: tuple[Preview, list[str]]) -> None:
    found, _ = seen
    assert (found.spent.prompt_tokens, found.spent.completion_tokens) == (4 * 50, 4 * 20)
    assert found.money == pytest.approx((200 + 2 * 80) / 1e6)
    whole = found.whole
    calls = 6 + round(8 / found.usable)
    assert whole.requests == pytest.approx(calls, abs=1)
    # The stub counts 50 and 20 tokens whatever is asked.
    assert whole.completion_tokens.low == pytest.approx(20 * whole.requests, rel=0.05)
    assert whole.prompt_tokens.low == pytest.approx(50 * whole.requests, rel=0.25)
    assert whole.cost is not None
    assert 0.3 * whole.requests / 4 <= whole.seconds.high < 30 * whole.requests
    assert str(found).endswith(str(whole))


def test_a_second_one_asks_for_nothing_and_other_settings_are_no_hindrance(
    seen: tuple[Preview, list[str]], settings, stub: Stub, cache: Path, folder: Path
) -> None:
    before = len(stub.requests())
    again = sa.preview(settings(folder), rows=4, progress=False)
    assert len(stub.requests()) == before
    assert again.rows == seen[0].rows
    assert again.spent.prompt_tokens == 0
    assert again.money is None
    other = sa.preview(settings(folder, reason={"task": "film reviews by children"}), rows=1, progress=False)
    assert len(stub.requests()) > before
    assert other.rows
    assert {path.name.partition("-")[0] for path in folder.iterdir()} <= {"ledger.sqlite"}


def test_what_models_and_data_say_is_harmless_where_it_is_shown(seen: tuple[Preview, list[str]]) -> None:
    hostile = "<script>alert(1)</script>\x1b[2J"
    found = Preview(
        **{
            **vars(seen[0]),
            "rows": (PreviewRow(hostile, hostile, {"tone": hostile}, None),),
            "exchanges": (Exchange("rows", hostile, (("user", hostile),), hostile, hostile),),
        }
    )
    assert "<script>" not in found._repr_html_()
    assert "\x1b" not in found._repr_html_() + str(found)


def test_no_rows_are_refused(settings, tmp_path: Path) -> None:
    with pytest.raises(sa.ConfigError, match="rows: 0; at least 1"):
        sa.preview(settings(tmp_path / "out"), rows=0, progress=False)
