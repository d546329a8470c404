"""How long a server asks to wait: in headers or in the body, as seconds, durations, dates or Unix times; and
where it sends one that waits."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from synalign_jax.llm.protocol import Quota

_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "s": 1.0, "sec": 1.0,
    "second": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
    "d": 86400.0, "day": 86400.0,
}  # fmt: skip
_UNIT = r"milliseconds?|msec|ms|ns|us|µs|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|hr|h|days?|d"
_PART = re.compile(rf"(\d+(?:\.\d*)?)\s*({_UNIT})?(?![a-z])", re.IGNORECASE)
_COMPOUND = re.compile(rf"(?:\d+(?:\.\d*)?\s*(?:{_UNIT})?\s*(?:,|and)?\s*)+", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)")
_IN_WORDS = re.compile(
    rf"(?:again|retry|wait|available|resets?|reset)\b[^.\d]{{0,40}}?"
    rf"((?:\d+(?:\.\d+)?\s*(?:{_UNIT})(?![a-z])\s*(?:,|and)?\s*)+)",
    re.IGNORECASE,
)
_ON_THE_CLOCK = re.compile(
    r"(?:again|retry|wait|available|resets?|replenished)\b[^.\d]{0,40}?(\d{1,3}:\d{2}:\d{2})\b", re.IGNORECASE
)
_FIELDS = {
    "retryafter": 1.0, "retrydelay": 1.0, "retryafterseconds": 1.0, "retryafterms": 1e-3, "retryafterme": 1.0,
    "estimatedtime": 1.0, "waittime": 1.0, "waitseconds": 1.0, "resetafter": 1.0, "resetin": 1.0,
    "resetat": 1.0, "resetsat": 1.0, "resettime": 1.0, "resetsinseconds": 1.0, "retryin": 1.0,
}  # fmt: skip
_EPOCH = 1e9  # a larger bare number is a date: Unix seconds, or milliseconds from _EPOCH_MS on
_EPOCH_MS = 1e11
_DEEPEST = 12
_POLL = 0.5  # seconds between two looks at an answer that is being made, if the server names none
_LONGEST_POLL = 5.0


def seconds(text: object, now: float | None = None) -> float | None:
    """Seconds in a header or field, from `now` (Unix time) where it is a date; None where it is neither."""
    now = time.time() if now is None else now
    if isinstance(text, dict):  # protobuf's Duration
        whole, nanos = text.get("seconds"), text.get("nanos", 0)
        parts = [number for number in (_number(whole), _number(nanos)) if number is not None]
        return parts[0] + (parts[1] * 1e-9 if len(parts) > 1 else 0.0) if parts else None
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    text = str(text).strip().strip('"')
    if (number := _number(text)) is not None:
        if number >= _EPOCH_MS:
            return max(0.0, number / 1000 - now)
        return max(0.0, number - now) if number >= _EPOCH else number
    if len(text) > 100:
        return None
    if _COMPOUND.fullmatch(text):
        return _sum(text)
    if text[:2].upper() == "PT" and _COMPOUND.fullmatch(text[2:]):  # ISO 8601
        return _sum(text[2:])
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, rest = clock.groups()
        return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(rest)
    moment = _moment(text)
    return None if moment is None else max(0.0, moment - now)


def retry_after(headers: Mapping[str, str], value: Any = None, text: str = "") -> float | None:
    """Seconds that a refusal asks to wait, from its headers (RFC 9110, section 10.2.3) or else its body."""
    now = clock_of(headers)
    for name, unit in (("retry-after-ms", 1e-3), ("x-ms-retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        if (wait := seconds(headers.get(name, ""), now)) is not None:
            return wait if wait >= _EPOCH else wait * unit
    found = [wait for wait in _in_fields(value, now) if wait is not None]
    if found:
        return max(found)
    if match := _ON_THE_CLOCK.search(text[:4000]):
        return seconds(match.group(1))
    if match := _IN_WORDS.search(text[:4000]):
        return _sum(match.group(1))
    return None


def quota(headers: Mapping[str, str]) -> Quota | None:
    """What the rate-limit headers say: OpenAI's x-ratelimit-*, Anthropic's, or the IETF drafts' ratelimit."""
    if "ratelimit" not in " ".join(headers).lower():
        return None
    now = clock_of(headers)
    drafted = dict(re.findall(r"\b(remaining|reset|r|t)\s*=\s*([\w.]+)", headers.get("ratelimit", "")))

    def scarcest(kind: str) -> tuple[str | None, str | None]:
        """What is left and when it is full again, of the minute, the day, or whatever is nearest its end."""
        found = [(headers[left], headers.get(reset)) for left, reset in _pairs(kind) if left in headers]
        counted = [pair for pair in found if _count(pair[0]) is not None]
        if not counted:
            return found[0] if found else (None, None)
        return min(counted, key=lambda pair: (_count(pair[0]), -(seconds(pair[1] or "", now) or 0.0)))

    def plain(what: str, short: str) -> str | None:
        for name in (f"x-ratelimit-{what}", f"ratelimit-{what}", f"x-rate-limit-{what}"):
            if name in headers:
                return headers[name]
        return drafted.get(what, drafted.get(short))

    left = scarcest("requests")
    if left[0] is None:
        left = plain("remaining", "r"), plain("reset", "t")
    tokens = scarcest("tokens")
    if left[0] is None and tokens[0] is None:
        return None
    return Quota(
        requests=_count(left[0]),
        requests_reset=seconds(left[1] or "", now) or 0.0,
        tokens=_count(tokens[0]),
        tokens_reset=seconds(tokens[1] or "", now) or 0.0,
    )


def used_up(headers: Mapping[str, str]) -> float | None:
    """Seconds until something is left again, where a refusal's rate-limit headers say that nothing is."""
    left = quota(headers)
    if left is None:  # Together
        alone = [seconds(headers[n]) for n in ("x-ratelimit-reset", "ratelimit-reset") if n in headers]
        return alone[0] if alone else None
    counts = ((left.requests, left.requests_reset), (left.tokens, left.tokens_reset))
    return max((reset for count, reset in counts if count == 0), default=0.0) or None


def _pairs(kind: str) -> Iterator[tuple[str, str]]:
    """The names of headers that count requests or tokens: what remains, and the reset."""
    for span in ("", "-minute", "-hour", "-day"):
        yield f"x-ratelimit-remaining-{kind}{span}", f"x-ratelimit-reset-{kind}{span}"
    for name in (kind, *(f"{which}-{kind}" for which in ("input", "output") if kind == "tokens")):
        yield f"anthropic-ratelimit-{name}-remaining", f"anthropic-ratelimit-{name}-reset"


def clock_of(headers: Mapping[str, str]) -> float:
    """The server's own clock, by which its dates are meant, if it tells it."""
    return _moment(headers.get("Date", "")) or time.time()


def _in_fields(value: Any, now: float, depth: int = 0) -> Iterator[float | None]:
    """What the fields of a body say that are named for a wait, wherever they lie."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value[:50]:
            yield from _in_fields(item, now, depth + 1)
    elif isinstance(value, dict):
        for name, item in list(value.items())[:200]:
            plain = re.sub(r"[^a-z]", "", str(name).lower())
            if plain in ("xratelimitreset", "ratelimitreset", *_FIELDS):
                wait = seconds(item, now)
                yield wait if wait is None else wait * _FIELDS.get(plain, 1.0)
            elif isinstance(item, dict | list):
                yield from _in_fields(item, now, depth + 1)


def _sum(text: str) -> float:
    total = 0.0
    for number, unit in _PART.findall(text):
        unit = unit.lower()
        total += float(number) * (_UNITS.get(unit) or _UNITS[unit.rstrip("s")])
    return total


def _number(text: object) -> float | None:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    try:
        value = float(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, value) if abs(value) < float("inf") else None


def _count(text: str | None) -> int | None:
    number = _number(text or "")
    return None if number is None or (text or "").startswith("-") else int(number)


def _moment(text: str) -> float | None:
    """Unix time of an HTTP date or an ISO 8601 date."""
    if not text:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An address that an answer is had at, by which method, and after how many seconds."""

    method: str
    url: str
    wait: float = 0.0


def elsewhere(at: Elsewhere, status: int, headers: Mapping[str, str], base: str) -> Elsewhere | None:
    """Where a server sends one on to that has not answered; None where it has, or names another host.

    303 is an answer that is being made, to be fetched (Modal: every 150 s); so is 202 where it names one, as
    NVIDIA does by its number. 307 and 308 are the same request at another path. Keys are for one host alone.
    """
    number, where = headers.get("NVCF-REQID"), headers.get("Location")
    if status == 202 and number and not where:
        where = f"{base}/status/{quote(number, safe='')}"
    if where is None or status not in (202, 303, 307, 308):
        return None
    try:
        url = _safe(urljoin(at.url, where), at.url)
        same = _origin(url) == _origin(at.url)
    except ValueError:
        return None
    if not same:
        return None
    if status in (307, 308):
        in_circles = url == at.url or at.wait > 1
        return None if in_circles else Elsewhere(at.method, url, max(0.01, 2 * at.wait))
    wait = 0.0 if status == 303 and at.method == "POST" else _POLL
    if at.method == "GET":
        wait = min(2 * at.wait, _LONGEST_POLL) if at.wait else _POLL
    asked = retry_after(headers)
    return Elsewhere("GET", url, wait if asked is None else asked)


def _safe(url: str, like: str) -> str:
    """The address by TLS, where a server behind a gateway that does TLS for it names itself without."""
    parts, own = urlsplit(url), urlsplit(like)
    plain = (parts.scheme, parts.hostname, parts.port or 80) == ("http", own.hostname, 80)
    if not plain or own.scheme != "https":
        return url
    return parts._replace(scheme="https", netloc=own.netloc).geturl()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
