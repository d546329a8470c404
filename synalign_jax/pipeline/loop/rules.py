"""The user's own rules for new rows: lengths, words, patterns, a function, and personal data."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from synalign_jax.pipeline.config import ConfigError, Rules

Rule = Callable[[str], str | None]


def user_rules(settings: Rules) -> list[Rule]:
    """One function a rule that is set: a text in, why it is refused or None out.

    Raises:
        ConfigError: a pattern that is none, a function that cannot be found.
    """
    rules: list[Rule] = []
    low, high = settings.min_characters, settings.max_characters
    if low is not None or high is not None:
        rules.append(
            lambda text: None if (low or 0) <= len(text) <= (high or len(text)) else "your length range"
        )
    if settings.forbidden:
        words = "|".join(re.escape(word) for word in settings.forbidden)
        forbidden = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
        rules.append(lambda text: "your forbidden list" if forbidden.search(text) else None)
    for name, refused_when in (("match", False), ("no_match", True)):
        for pattern in getattr(settings, name):
            rules.append(_pattern(name, pattern, refused_when))
    if settings.function:
        rules.append(_function(settings.function))
    if settings.personal_data == "drop":
        rules.append(lambda text: "personal data" if personal_data(text) else None)
    return rules


def personal_data(text: str) -> list[str]:
    """The kinds of personal data that presidio's patterns find in a text: addresses, numbers of cards,
    accounts...

    Names of people need a language model of spaCy and are not looked for.

    Raises:
        ConfigError: presidio-analyzer is not installed.
    """
    return sorted(
        {
            found.entity_type
            for recognizer in _recognizers()
            for found in recognizer.analyze(text, recognizer.supported_entities, None)
            if found.score >= _SURE
        }
    )


def hidden_rows(settings: Rules, texts: Sequence[str], say: Callable[[str], None]) -> frozenset[int]:
    """Real rows that are not shown to a model for the personal data in them; `say` is told what was found."""
    if settings.personal_demonstrations == "off":
        return frozenset()
    found = frozenset(i for i, text in enumerate(texts) if personal_data(text))
    if found and settings.personal_demonstrations == "report":
        say(
            f"{len(found)} real rows seem to hold personal data and may be shown to the model"
            ' ([rules] personal_demonstrations = "drop" keeps them back)'
        )
    return found if settings.personal_demonstrations == "drop" else frozenset()


_SURE = 0.5
_RECOGNIZERS = (
    "PhoneRecognizer", "CreditCardRecognizer", "IbanRecognizer", "IpRecognizer", "CryptoRecognizer",
    "UsSsnRecognizer"
)  # fmt: skip


@cache
def _recognizers() -> tuple[Any, ...]:
    try:
        known = importlib.import_module("presidio_analyzer.predefined_recognizers")
    except ImportError as error:
        raise ConfigError(
            "[rules] personal data is found by presidio-analyzer; install it with:"
            " pip install 'synalign-jax[pii]' (or leave the setting off)"
        ) from error
    # The recognizer of mail addresses fetches a list of domains from the network; its patterns do without.
    mail = known.EmailRecognizer
    by_pattern = importlib.import_module("presidio_analyzer").PatternRecognizer(
        supported_entity="EMAIL_ADDRESS", patterns=mail.PATTERNS, context=mail.CONTEXT
    )
    return (by_pattern, *(getattr(known, name)() for name in _RECOGNIZERS if hasattr(known, name)))


def _pattern(name: str, pattern: str, refused_when: bool) -> Rule:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"[rules] {name}: '{pattern}' is no regular expression ({error})") from error
    reason = f"your pattern {pattern}"
    return lambda text: reason if bool(compiled.search(text)) is refused_when else None


def _function(named: str) -> Rule:
    module, _, name = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"[rules] function: '{named}' cannot be loaded ({error}); give module:function, importable from "
            f"here"
        ) from error
    if not callable(found):
        raise ConfigError(f"[rules] function: '{named}' is not a function")

    def rule(text: str) -> str | None:
        """A function says True to keep a row; False, or why in words, to drop it."""
        said = found(text)
        if isinstance(said, str):
            return said
        return None if said is None or said else f"your function {named}"

    return rule
