"""Requests and tokens a minute, as a token bucket."""

from __future__ import annotations


class Bucket:
    """Never lets more than `per_minute` through in any 60 seconds.

    The bucket holds one second's worth and refills at the rest of the rate, so the burst and the refill of
    any minute together stay within the limit. Taking may overdraw; the taker then waits until the debt is
    paid, so requests go out in the order they came.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._capacity = max(1.0, per_minute / 60)
        self._per_second = max(per_minute - self._capacity, per_minute / 2) / 60
        self._level = self._capacity
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take `amount` and return the seconds to wait before using it."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._per_second)
        self._at = now
        self._level -= amount
        return max(0.0, -self._level / self._per_second)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes more."""
        self._level += amount
