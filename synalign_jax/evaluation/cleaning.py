"""Makes any text safe to read: no NUL, no lone surrogates, no invisible reordering, no endless rows."""

from __future__ import annotations

import re

MAX_CHARACTERS = 1_200

# Controls but tab and newline, surrogates, and the marks that reorder or hide the text around them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)


def readable(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The text with unsafe characters spelt out as [U+202E], cut at `limit` with a note of its length."""
    shown = _UNSAFE.sub(lambda match: f"[U+{ord(match.group()):04X}]", text[:limit])
    return shown if len(text) <= limit else f"{shown}… [{len(text):,} characters in all]"
