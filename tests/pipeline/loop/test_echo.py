"""Rows that say again what was asked are found out, and leading labels are taken off."""

import pytest

from synalign_jax.pipeline.loop.echo import Echoes

REQUEST = "Write 5 new sentences from film reviews with the label negative. Each is about something else."
REAL = ["the plot is thin .", "note: this film is for the very young .", "a label that lost its star ."]


@pytest.fixture
def echoes() -> Echoes:
    return Echoes([REQUEST], ["subject", "tone", "length"], ["negative", "positive", "note"], REAL)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("negative: harsh villain", "harsh villain"),
        ("Label: Negative: harsh villain", "harsh villain"),
        ('"text": "harsh villain"', "harsh villain"),
        ("Review 3: harsh villain", "harsh villain"),
        ("note: harsh villain", "note: harsh villain"),  # a real row begins so
        ("a positive: it ends", "a positive: it ends"),
    ],
)
def test_what_stands_before_a_row_is_taken_off(echoes: Echoes, text: str, clean: str) -> None:
    assert echoes.strip(text) == clean


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("negative", "says a label"),
        ("label negative 3", "says a label"),
        ("minItems", "says a label"),
        ("items and properties of it", "echoes the schema"),
        ("new sentences from film reviews with the label positive", "echoes the request"),
        ("a slow heist with a tired crew", "echoes its attributes"),
    ],
)
def test_echoes_are_named(echoes: Echoes, text: str, reason: str) -> None:
    verdict = echoes.verdict(text) or echoes.of_attributes(text, ["a slow heist with a tired old crew"])
    assert verdict is not None
    assert verdict.startswith(reason)


def test_a_text_that_shares_a_few_words_with_the_request_is_none(echoes: Echoes) -> None:
    assert echoes.verdict("each scene is about something else , and the film reviews itself") is None
    assert echoes.verdict("a negative portrait of a positive man") is None
    assert echoes.of_attributes("a negative portrait of a positive man", ["a positive man"]) is None
