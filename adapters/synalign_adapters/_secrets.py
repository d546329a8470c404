"""Secrets that a connection knows, and texts without them: servers do repeat keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

_SHORTEST = 6  # characters: a shorter secret would be found in half of all texts
_TELLING = re.compile(r"key|token|secret|sig|pass|auth|code|credential|jwt|session", re.IGNORECASE)


class Secrets:
    """Header values, and the passwords and keys of addresses.

    Errors and records of failures are redacted wherever a secret stands. Answers that are used are not: they
    are somebody's data, and a key such as "anything" is a word first.
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

    def redact(self, text: str) -> str:
        """For errors, logs and records of failures."""
        for secret in self._all:
            text = text.replace(secret, "[secret]")
        return text
