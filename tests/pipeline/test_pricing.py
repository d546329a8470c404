"""Planned requests go to the endpoints of the settings, and each is priced at its own prices."""

import pytest

from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.asking.ask import prices_of
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.pricing import dealt, priced, summed


def endpoint(model: str, prompt: float | None = None, **more: object) -> dict:
    prices = {} if prompt is None else {"prices": {"prompt": prompt, "completion": 10 * prompt}}
    return {"base_url": f"http://127.0.0.1/{model}", "model": model, "top_p": 1.0, **prices, **more}


def config(llm: dict, **more: object) -> Config:
    return parse_config({"run": {"folder": "out"}, "data": {"source": "rows.csv"}, "llm": llm, **more})


def requests(count: int, *, model: str = "a", tokens: int = 100) -> list[ChatRequest]:
    return [ChatRequest((Message("user", f"row {i:3}"),), model, max_tokens=tokens) for i in range(count)]


def words(text: str) -> int:
    return len(text.split())


def test_each_endpoint_gets_its_share_under_its_own_settings_and_prices() -> None:
    settings = config(
        endpoint("a", 1.0),
        llms={"b": endpoint("b", 5.0, temperature=0.3, extra={"top_k": 4}), "c": endpoint("c", 7.0)},
        reason={"llm": "c"},
        generate={"llm": {"llm": 2, "b": 1}},
        judge={"llm": True, "endpoint": endpoint("j", 100.0, concurrency=1)},
    )
    planned = {"attributes": requests(4), "rows": requests(30), "judge": requests(3, model="j")}
    parts = dealt(settings, planned)
    assert [(part.what, part.name, len(part.requests)) for part in parts] == [
        ("attributes", "c", 4),
        ("rows", "llm", 20),
        ("rows", "b", 10),
        ("judge", "judge.endpoint", 3),
    ]
    for part in parts:
        assert {request.model for request in part.requests} == {part.settings.model}
    assert {(r.temperature, r.extra["top_k"]) for r in parts[2].requests} == {(0.3, 4)}
    # The turns are taken, none is asked twice.
    texts = sorted(r.messages[0].content for part in parts[1:3] for r in part.requests)
    assert texts == [r.messages[0].content for r in requests(30)]

    measured = {"count_tokens": words, "share_of_max": (0.5, 0.5), "seconds_an_answer": (2.0, 2.0)}
    found = [priced(settings, part, **measured) for part in parts]
    whole = summed(settings, parts, found)
    # 2 words and 8 of the template to read, 50 to write; the second price is ten times the first.
    expected = sum(
        count * (10 + 10 * 50) * price / 1e6 for count, price in ((4, 7), (20, 1), (10, 5), (3, 100))
    )
    assert whole.requests == 37
    assert whole.cost is not None
    assert whole.cost.low == whole.cost.high == pytest.approx(expected)
    assert whole.prompt_tokens.low == 37 * 10
    # 16 at a time but for the judge; both writers at once: 4 in 1 round, 20 in 2 and 10 in 1, 3 in 3.
    assert whole.seconds.high == 2.0 * (1 + 2 + 3)
    assert [name for name, _ in whole.parts] == ["[llms.c] c", "[llm] a", "[llms.b] b", "[judge.endpoint] j"]
    assert sum(part.requests for _, part in whole.parts) == 37
    assert "[llms.b] b: 10 requests, cost 0.0255 to 0.0255" in str(whole)


def test_the_cap_of_the_run_is_held_against_all_endpoints_together() -> None:
    def passes(max_cost: float) -> str | None:
        settings = config(
            endpoint("a", 1.0, max_cost=max_cost),
            llms={"b": endpoint("b", 5.0)},
            generate={"llm": {"llm": 1, "b": 1}},
        )
        parts = dealt(settings, {"rows": requests(20)})
        found = [priced(settings, part, count_tokens=words, share_of_max=(1.0, 1.0)) for part in parts]
        assert all(one.passes is None for one in found)
        return summed(settings, parts, found).passes

    # 10 requests at 1,010 millionths, 10 at five times that.
    assert passes(0.0607) is None
    assert passes(0.0605) == "max_cost = 0.0605"


def test_what_has_no_price_is_named_and_not_counted() -> None:
    settings = config(endpoint("a", 1.0), llms={"b": endpoint("b")}, generate={"llm": {"llm": 1, "b": 1}})
    parts = dealt(settings, {"rows": requests(20)})
    found = [priced(settings, part, count_tokens=words, share_of_max=(1.0, 1.0)) for part in parts]
    whole = summed(settings, parts, found)
    assert whole.cost is not None
    assert whole.cost.high == pytest.approx(10 * 1010 / 1e6)
    assert whole.unpriced == ("b",)
    assert "what b costs, which has no prices" in str(whole)
    assert "[llms.b] b: 10 requests, no prices" in str(whole)


def test_without_any_price_there_is_no_cost_and_one_endpoint_is_not_told_apart() -> None:
    settings = config(endpoint("a"))
    parts = dealt(settings, {"attributes": requests(2), "rows": requests(5)})
    whole = summed(settings, parts, [priced(settings, part) for part in parts])
    assert (whole.cost, whole.unpriced, whole.parts) == (None, (), ())
    assert "no prices in the config" in str(whole)


def test_a_judge_without_an_endpoint_of_its_own_is_paid_where_rows_are_written() -> None:
    settings = config(
        endpoint("a", 1.0), llms={"b": endpoint("b", 5.0)}, generate={"llm": "b"}, judge={"llm": True}
    )
    parts = dealt(settings, {"attributes": requests(1), "judge": requests(3)})
    assert [(part.what, part.name) for part in parts] == [("attributes", "llm"), ("judge", "b")]


def test_prices_of_the_models_that_write() -> None:
    settings = config(
        endpoint("a", 1.0),
        llms={"b": endpoint("b", 5.0), "c": endpoint("c", 7.0), "d": endpoint("d")},
        generate={"llm": {"llm": 1, "b": 1, "d": 1}},
    )
    assert {model: price.prompt for model, price in prices_of(settings).items()} == {"a": 1.0, "b": 5.0}
