"""How long work inside the core tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

# Called with the piece of work under way, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""
    del what, done, total
