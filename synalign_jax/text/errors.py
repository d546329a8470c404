"""What this package raises when a model or a text cannot be used."""

from __future__ import annotations

from collections.abc import Iterable


class ModelError(ValueError):
    """A model folder, a setting or a text that cannot be used; the message says which and what to do."""


def check_texts(texts: Iterable[str], first: int = 0) -> None:
    """Raise for an item that no tokenizer can read.

    Args:
        first: the index of the first item in the caller's list, for the message.

    Raises:
        ModelError: an item that is not a text, or that holds half of a surrogate pair.
    """
    if isinstance(texts, str):
        raise ModelError("texts: expected a list of texts, got one str; put it into a list")
    for index, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise ModelError(f"text {index}: expected a str, got {type(text).__name__}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ModelError(
                f"text {index}: character {error.start} is half of a surrogate pair; clean the text with"
                " text.encode('utf-8', 'replace').decode()"
            ) from None
