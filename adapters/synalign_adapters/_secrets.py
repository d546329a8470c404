"""Secrets that a connection knows, and texts without them: servers do repeat keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

_SHORTEST = 6  # characters: a shorter secret would be found in half of all texts
_UNMISTAKABLE = 16
_TELLING = re.compile(r"key|token|secret|sig|pass|auth|code|credential|jwt|session", re.IGNORECASE)


class Secrets:
    """Header values, and the passwords and keys of addresses.

    Errors and records of failures are redacted wherever a secret stands. An answer is somebody's data: there
    a key is replaced only where it can be nothing else, being long and of letters and digits mixed; a key
    such as "anything" is left alone, because it is a word first.
    """

    def __init__(self, values: Iterable[str], addresses: Iterable[str]) -> None:
        given = [value for value in values if value]
        found = set(given)
        found |= {value.split(" ", 1)[1] for value in given if " " in value}  # "Bearer KEY"
        for address in addresses:
            parts = urlsplit(address)
            found |= {parts.password or "", unquote(parts.password or "")}
            found |= {value for name, value in parse_qsl(parts.query) if _TELLING.search(name)}
        self._all = sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)
        self._sure = [value for value in self._all if _is_unmistakable(value)]

    def redact(self, text: str) -> str:
        """For errors, logs and records of failures."""
        return _without(text, self._all)

    def spare(self, text: str) -> str:
        """For answers that are used."""
        return _without(text, self._sure)


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _is_unmistakable(value: str) -> bool:
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return len(value) >= _UNMISTAKABLE and mixed and not any(c.isspace() for c in value)
