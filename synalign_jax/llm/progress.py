"""What a run of requests looks like while it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .protocol import Usage

_MANY, _RARE = 20, 0.1  # jobs, and the share of them


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot. `retries` counts by kind; `note` says in words why nothing moves, when nothing does."""

    done: int
    total: int | None
    in_flight: int
    waiting: int
    retries: dict[str, int]
    failed: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    spent: float | None
    cap: float | None
    seconds: float
    note: str = ""


class Tally:
    """The running counts behind Progress."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.done = self.failed = self.cached = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0
        self.retries: dict[str, int] = {}
        self._start = time.monotonic()

    def retry(self, kind: str) -> None:
        self.retries[kind] = self.retries.get(kind, 0) + 1

    def seldom(self, kind: str) -> bool:
        """Whether such failures are rare among many answers: then bad luck is to blame."""
        return self.done >= _MANY and self.retries.get(kind, 0) < _RARE * self.done

    def pay(self, usage: Usage, cost: float) -> None:
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cost += cost

    def snapshot(
        self, *, in_flight: int, waiting: int, priced: bool, cap: float | None, note: str
    ) -> Progress:
        return Progress(
            done=self.done,
            total=self.total,
            in_flight=in_flight,
            waiting=waiting,
            retries=dict(self.retries),
            failed=self.failed,
            cached=self.cached,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            spent=self.cost if priced else None,
            cap=cap,
            seconds=time.monotonic() - self._start,
            note=note,
        )
