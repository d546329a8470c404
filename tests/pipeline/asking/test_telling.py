"""Attribute values that say nothing are told from those that do."""

from synalign_jax.pipeline.asking.telling import telling, without_common

QUESTIONS = {
    "subject": "what they talk about: story, acting",
    "style": "how they are written",
    "tone": "the feeling",
}


def _kept(values: dict[str, str]) -> dict[str, str]:
    return telling(values, QUESTIONS, "negative", "sentences from film reviews")


def test_what_says_something_is_kept() -> None:
    values = {"subject": "a slow heist plot", "style": "dry irony", "tone": "bored, a little cruel"}
    assert _kept(values) == values


def test_what_says_nothing_is_left_out() -> None:
    for empty in (
        "",
        "the",
        "300",
        "none",
        "string",
        "negative",
        "Negative.",
        "film reviews",
        "tone",
        "the feeling",
    ):
        assert _kept({"tone": empty}) == {}, empty


def test_addresses_and_code_are_left_out() -> None:
    for junk in ("see www.example.org", "http://a.b/c", '{"tone": "x"}', "<b>angry</b>", "mail me@here"):
        assert _kept({"tone": junk}) == {}, junk


def test_files_dates_questions_and_orders_are_left_out() -> None:
    for junk in (
        "en.html",
        "07-23-2022-11-09",
        "A 2018 report",
        "What are some key differences between USD and XAU.",
        "Please give a short summary, at least 200 words.",
    ):
        assert _kept({"tone": junk}) == {}, junk
    kept = {"subject": "the U.S. market in the 1980s", "style": "what-if tales told backwards"}
    assert _kept(kept) == kept


def test_one_phrase_in_every_field_counts_once() -> None:
    phrase = "a romantic comedy of manners"
    assert _kept({"subject": phrase, "style": phrase, "tone": f"{phrase}!"}) == {"subject": phrase}


def test_values_that_most_clusters_share_tell_none_apart() -> None:
    found = [{"tone": "Warm"}, {"tone": "warm"}, {"tone": "warm", "style": "plain"}, {"tone": "icy"}]
    assert without_common(found) == [{}, {}, {"style": "plain"}, {"tone": "icy"}]
    assert without_common(found[:3]) == found[:3]
