"""A circuit breaker: when nothing is answered any more, one probe at a time asks for the endpoint."""

from __future__ import annotations

_TRIPS_AT = 16  # failures in a row; at 30 % random failures that is one run in 10^8


class Breaker:
    """Counts failures in a row; open means that only a probe may go out, and only after `probe_at`.

    Times are seconds of any one clock. `trips` False keeps it closed whatever comes.
    """

    def __init__(self, *, first_wait: float, longest_wait: float, trips: bool = True) -> None:
        self._first, self._longest, self._trips = first_wait, longest_wait, trips
        self._failures = 0
        self.ever_answered = False
        self.open = False
        self.probes = 0  # that failed since it opened
        self.probe_at = 0.0
        self.last_answer: float | None = None

    def success(self, now: float = 0.0) -> bool:
        """The endpoint answered. True if that closed the breaker."""
        self.last_answer = now
        was_open, self.open = self.open, False
        self.ever_answered = True
        self._failures = self.probes = 0
        return was_open

    def failure(self, now: float, *, probe: bool, wait: float = 0.0) -> None:
        """The endpoint failed; `wait` is what it asked for. Only a probe's failure moves an open breaker."""
        self._failures += 1
        if self.open and probe:
            self.probes += 1
        elif self.open or not self._trips or self._failures < _TRIPS_AT:
            return
        else:
            self.open = True
        self.probe_at = now + max(wait, min(self._longest, self._first * 2**self.probes))
