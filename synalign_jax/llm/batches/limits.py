"""How requests are gathered into batches, and how often a batch is looked at."""

from __future__ import annotations

from dataclasses import dataclass

DISCOUNT = 0.5  # what a request costs in a batch, of its usual price: OpenAI's, and that of most who copy it


@dataclass(frozen=True, slots=True)
class Batching:
    """Times are seconds; the limits are OpenAI's.

    A batch is sent once no further request has come for `gather`, or it is full. It is looked at after
    `first_look`, then ever more rarely, at least once in `longest_look`. `again` is the wait before a batch
    is sent anew that the endpoint had no room for.
    """

    most_requests: int = 50_000
    most_bytes: int = 190_000_000
    gather: float = 2.0
    first_look: float = 2.0
    longest_look: float = 60.0
    again: float = 60.0

    def __post_init__(self) -> None:
        for name in ("most_requests", "most_bytes"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"batching.{name}: {getattr(self, name)}; at least 1 is needed")
        for name in ("gather", "first_look", "longest_look", "again"):
            if not getattr(self, name) > 0:
                raise ValueError(f"batching.{name}: {getattr(self, name)}; seconds > 0 are needed")
