"""The user's rules, each by itself; personal data where the extra is installed."""

import pytest

from synalign_jax.pipeline.config import ConfigError, Rules
from synalign_jax.pipeline.loop.rules import hidden_rows, personal_data, user_rules


def short(text: str) -> bool | str:
    """A rule of a user."""
    return "too shouty" if text.isupper() else len(text) < 20


def _refused(settings: Rules, text: str) -> str | None:
    return next((reason for rule in user_rules(settings) if (reason := rule(text)) is not None), None)


def test_without_rules_nothing_is_refused() -> None:
    assert user_rules(Rules()) == []


def test_lengths_words_and_patterns() -> None:
    assert _refused(Rules(min_characters=5), "abc") == "your length range"
    assert _refused(Rules(max_characters=5), "abcdef") == "your length range"
    assert _refused(Rules(forbidden=["Acme Corp"]), "made by acme corp.") == "your forbidden list"
    assert _refused(Rules(forbidden=["ass"]), "a class act") is None
    assert _refused(Rules(match=[r"\d"]), "none") == r"your pattern \d"
    assert _refused(Rules(no_match=[r"\d"]), "4 of them") == r"your pattern \d"
    assert _refused(Rules(match=["a"], no_match=["b"]), "a") is None


def test_a_function_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Rules(function=f"{__name__}:short")
    assert _refused(named, "fine") is None
    assert _refused(named, "x" * 30) == f"your function {__name__}:short"
    assert _refused(named, "LOUD") == "too shouty"


@pytest.mark.parametrize("named", ["nothing", "no_such_module:f", "json:no_such", "json:__name__", ":f"])
def test_a_function_that_cannot_be_loaded_is_told(named: str) -> None:
    with pytest.raises(ConfigError, match="function"):
        user_rules(Rules(function=named))


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no_match.*'\('"):
        user_rules(Rules(no_match=["("]))


def test_personal_data() -> None:
    pytest.importorskip("presidio_analyzer")
    assert personal_data("write to joe.bloggs@example.com") == ["EMAIL_ADDRESS"]
    assert personal_data("a warm and funny film from 1999 .") == []
    assert _refused(Rules(personal_data="drop"), "mail joe@example.com") == "personal data"
    said: list[str] = []
    texts = ["mail joe@example.com", "nothing here"]
    assert hidden_rows(Rules(personal_demonstrations="drop"), texts, said.append) == {0}
    assert not hidden_rows(Rules(personal_demonstrations="report"), texts, said.append)
    assert "1 real rows" in said[0]
    assert not hidden_rows(Rules(), texts, said.append)
