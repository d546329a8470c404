"""The JSON of a body, as servers write it, and the errors that it may report."""

from __future__ import annotations

import codecs
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

_STATUS_OF_WORD = {
    "resource_exhausted": 429, "rate_limit_exceeded": 429, "rate_limit_error": 429, "too_many_requests": 429,
    "throttlingexception": 429, "unavailable": 503, "overloaded_error": 529, "overloaded": 529,
    "authentication_error": 401, "unauthenticated": 401, "permission_error": 403, "permission_denied": 403,
    "not_found_error": 404, "not_found": 404, "model_not_found": 404, "invalid_request_error": 400,
    "invalid_argument": 400, "bad_request": 400, "badrequesterror": 400, "deadline_exceeded": 504,
}  # fmt: skip
# MiniMax's numbers, which come with HTTP 200.
_STATUS_OF_NUMBER = {1002: 429, 1004: 401, 1008: 402, 1026: 400, 1027: 400, 1039: 429, 2013: 400, 2049: 401}


def parsed(text: str) -> Any:
    """What a body says, also where a gateway has put its JSON into a string; None where it is no JSON."""
    try:
        value = _read(text)
        return _read(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
    except (ValueError, RecursionError):
        return _amid(text)


def _amid(text: str) -> Any:
    """The chat completion amid what a server's warnings, a log or a second copy have put around it."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, max(start, 0))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "choices" in value else None


def decoded(data: bytes, charset: str | None) -> str:
    """The text of a body: UTF-8, as JSON is, unless it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            charset = "utf-16"
    try:
        return data.decode(charset or "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def written(value: Any) -> bytes:
    """A body to post."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError):  # lone surrogates, whole numbers beyond 64 bits
        return json.dumps(value).encode("ascii")


def _read(text: str) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(text)  # vectors as numbers seven times faster than by json
    # A byte order mark, NaN, bare control characters and lone surrogates are no JSON, and are sent.
    return json.loads(text.removeprefix("\ufeff"), strict=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a body says went wrong. `status` is its own word, or None; `code` all its short words."""

    text: str
    code: str
    status: int | None


def fault_in(value: Any) -> Fault | None:
    """The error that a body reports, in the shapes that servers use; None where it reports none."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return fault_in(value[0])
    if not isinstance(value, dict):
        return None
    if value.get("type") == "response.failed":  # OpenAI's Responses, streamed
        return fault_in(value.get("response"))
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") and not value.get("choices"):
        code = base["status_code"]
        status = _STATUS_OF_NUMBER.get(code, 500) if isinstance(code, int) else 500
        return Fault(str(base.get("status_msg") or code), str(code), status)
    error = next((value[name] for name in ("error", "errors", "detail") if value.get(name)), None)
    if not error and not _says_error(value):
        return None
    if isinstance(error, list) and len(error) == 1 and isinstance(error[0], dict | str):
        error = error[0]
    inner = error if isinstance(error, dict) else value
    text = next((inner[n] for n in ("message", "msg", "detail", "error", "title") if inner.get(n)), None)
    if isinstance(error, str):
        text = error
    if not isinstance(text, str):
        text = json.dumps(text if text is not None else (error or value), ensure_ascii=False)
    metadata = inner.get("metadata")
    if isinstance(metadata, dict) and isinstance(
        metadata.get("raw"), str
    ):  # what the provider behind it said
        text = f"{text}: {metadata['raw']}"
    if isinstance(inner.get("failed_generation"), str):
        text += " (failed_generation)"
    words = [x.get(n) for x in (inner, value) for n in ("code", "status", "type", "reason") if x.get(n)]
    return Fault(text, " ".join(str(word) for word in words).lower(), _status(words))


def bare(value: Any) -> Fault | None:
    """An error that is not wrapped in one: the fields of the body itself."""
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return None
    words = [value[name] for name in ("code", "error_code", "status", "type") if value.get(name)]
    return Fault(value["message"], " ".join(map(str, words)).lower(), _status(words))


def _says_error(value: Mapping[str, Any]) -> bool:
    if value.get("choices") or value.get("data"):
        return False
    kind = str(value.get("object") or value.get("type") or value.get("status") or "").lower()
    return kind in ("error", "failed", "failure") or value.get("success") is False


def _status(words: list[Any]) -> int | None:
    for word in words:
        if (
            isinstance(word, int | str)
            and not isinstance(word, bool)
            and str(word).isdecimal()
            and len(str(word)) < 4
        ):
            if 400 <= int(word) < 600:
                return int(word)
        elif isinstance(word, str) and word.lower() in _STATUS_OF_WORD:
            return _STATUS_OF_WORD[word.lower()]
    return None
