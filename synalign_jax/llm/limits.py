"""How hard to press an endpoint, and how long to be patient."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to press an endpoint, and how long to be patient. Times are seconds.

    `concurrency` is a ceiling: how many requests are really in flight adapts to the endpoint.
    `max_attempts` bounds the attempts of one request that fail for other reasons than a rate limit, and for
    one and the same: while the reasons change it is luck that fails, and up to three times as many are made;
    and two failures in between which others were answered do not count, nor do waits grow by them.
    Being told to come back later burns none. `total_timeout` bounds what one request spends in attempts and
    waits, and how long nothing at all may be answered.
    `reasks` bounds how often an answer that is not the JSON wanted is asked for again with the error shown;
    up to three times as often where the run's other answers hardly ever are such.
    `reasoning_tokens` are what an answer may take on top of `max_tokens`, for thoughts that it does not show;
    None finds it out, should answers turn out to be thoughts alone.
    """

    concurrency: int = 32
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    attempt_timeout: float = 120.0
    total_timeout: float = 900.0
    max_attempts: int = 8
    reasks: int = 2
    first_wait: float = 0.5
    longest_wait: float = 60.0
    reasoning_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_attempts"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"limits.{name}: {getattr(self, name)}; at least 1 is needed")
        for name in ("attempt_timeout", "total_timeout", "first_wait", "longest_wait"):
            if not getattr(self, name) > 0:
                raise ValueError(f"limits.{name}: {getattr(self, name)}; seconds > 0 are needed")
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"limits.{name}: {value}; leave it out for no limit")
        if self.reasoning_tokens is not None and self.reasoning_tokens < 0:
            raise ValueError(f"limits.reasoning_tokens: {self.reasoning_tokens}; at least 0, or None")
        if self.reasks < 0:
            raise ValueError(f"limits.reasks: {self.reasks}; at least 0")
