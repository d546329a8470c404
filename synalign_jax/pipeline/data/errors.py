"""What reading and writing data raise."""

from __future__ import annotations

from collections.abc import Iterable


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the row and the mend."""


def listed(names: Iterable[object], most: int = 12) -> str:
    """Names in quotes, a long list cut short."""
    quoted = [f"'{name}'" for name in names]
    more = f" and {len(quoted) - most:,} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more or "(none)"
