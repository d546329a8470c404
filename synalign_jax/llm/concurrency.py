"""How many requests to have in flight: additive increase, multiplicative decrease."""

from __future__ import annotations

_NOISE = 0.2  # this share of refusals in a window is bad luck; more is a server that has too much to do
_GAIN = 1.15  # a step up that raises the answers per second by less than this met a queue, not idle slots
_FLAT = 1.15  # mean latency over that at the knee up to which there is no queue
_QUEUED = 1.5  # mean latency over that at the knee from which more requests only wait longer
_SLOW = 4.0  # and from which the server is taken to be in trouble


class Concurrency:
    """The limit on requests in flight, moved once a window; a window is as many answers as the limit.

    It doubles while doubling pays (slow start), then grows by small steps while the latency stays near that
    of the knee, and shrinks in proportion to the share of refused requests (Alizadeh et al., "Data Center
    TCP", 2010, eq. 2, which cuts by half only if every mark in the window says so).
    """

    def __init__(self, ceiling: int, initial: int = 16) -> None:
        self.ceiling = ceiling
        self.limit = min(initial, ceiling)
        self._step = max(1, ceiling // 64)
        self._starting = True
        self._share = 0.0  # of refusals, over the last windows
        self._knee: float | None = None  # seconds an answer takes where slow start ended
        self._free = self.limit  # the highest limit known to meet no queue
        self._last: tuple[int, float] | None = None  # limit and mean latency of the window before
        self._clear()

    def _clear(self) -> None:
        self._answers = self._refusals = 0
        self._seconds = 0.0

    def answered(self, seconds: float) -> None:
        """An answer, or an error that says nothing about load, came after `seconds`."""
        self._answers += 1
        self._seconds += seconds
        self._settle()

    def refused(self) -> None:
        """The endpoint refused for load, or let the request time out."""
        self._refusals += 1
        self._settle()

    def resume(self) -> None:
        """The endpoint is back after an outage: start small, and double as at the start."""
        self.limit = min(max(1, self.limit // 2), 16)
        self._starting, self._last, self._share = True, None, 0.0
        self._clear()

    def _settle(self) -> None:
        total = self._answers + self._refusals
        if total < max(self.limit, 4):
            return
        share = self._share = (self._share + self._refusals / total) / 2
        latency = self._seconds / self._answers if self._answers else None
        self._clear()
        if share > _NOISE or latency is None:
            self._cut(share)
        elif self._starting:
            self._double(latency)
        else:
            self._creep(latency)

    def _cut(self, share: float) -> None:
        self.limit = max(1, int(self.limit * (1 - share / 2)))
        self._starting, self._last = False, None

    def _double(self, latency: float) -> None:
        if self._last is not None:
            limit, before = self._last
            if (self.limit / latency) / (limit / before) < _GAIN:
                self._starting, self._knee, self._free = False, before, limit
                self.limit = limit
                return
        self._last = (self.limit, latency)
        self.limit = min(2 * self.limit, self.ceiling)
        if self.limit == self.ceiling:
            self._starting = False

    def _creep(self, latency: float) -> None:
        knee = latency if self._knee is None else self._knee
        if latency < _FLAT * knee:
            self._free = self.limit
        # Answers may get longer for other reasons than a queue (which makes the latency grow with the limit).
        self._knee = knee + 0.05 * (latency / max(1.0, self.limit / self._free) - knee)
        if latency > _SLOW * knee:
            self._cut(0.5)
        elif latency < _QUEUED * knee:
            self.limit = min(self.limit + self._step, self.ceiling)


class AllAtOnce:
    """No limit that adapts: for requests that go in batches, which the endpoint does not see one by one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def answered(self, seconds: float) -> None:
        """As Concurrency's."""

    def refused(self) -> None:
        """As Concurrency's."""

    def resume(self) -> None:
        """As Concurrency's."""
