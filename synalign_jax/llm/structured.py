"""JSON answers: found in the text, mended where the damage is small, checked against the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from .protocol import BadAnswer

_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PART = re.compile(_STRING.pattern + r"|[{}\[\],:]|[^\s{}\[\],:\"]+|\"(?:[^\"\\]|\\.)*\\?\Z", re.DOTALL)
_DEEPEST = 64
_WORDS = {"True": "true", "False": "false", "None": "null"}


def clean(text: str) -> str:
    """The text without NUL and lone surrogates, which files and partizers refuse."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATE.sub("�", text)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise ValueError unless `schema` is a JSON schema."""
    _validator(json.dumps(schema, sort_keys=True))


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in `text`, valid under `schema`.

    Fences, words around the JSON, trailing commas, Python's words and bare line ends in strings are mended.
    Of an answer that was cut off the whole items are kept; if the schema refuses those, a string that lacks
    its end is closed where it stands. Anything else is not guessed at.

    Raises:
        BadAnswer: no JSON, or JSON that the schema refuses; the message is fit to be shown to the model.
    """
    validator = _validator(json.dumps(schema, sort_keys=True))
    refusal = "the answer is empty"
    for candidate in _candidates(text):
        try:
            value = _clean_value(_decode(candidate))
            error = best_match(validator.iter_errors(value))
        except RecursionError:
            refusal = "the JSON is nested too deeply"
        except ValueError as problem:
            refusal = f"the answer is not JSON: {problem}"
        else:
            if error is None:
                return value
            where = "/".join(str(part) for part in error.absolute_path) or "the top level"
            refusal = f"the JSON does not fit its schema at {where}: {error.message[:300]}"
    raise BadAnswer(refusal, raw=text)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    value = json.loads(schema)
    kind = validator_for(value, default=Draft202012Validator)
    try:
        kind.check_schema(value)
    except SchemaError as error:
        raise ValueError(f"schema: not a JSON schema: {error.message}") from None
    return kind(value)


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _decode(text: str) -> Any:
    return json.loads(text, strict=False, parse_constant=_refuse_constant)


def _candidates(text: str) -> Iterator[str]:
    """What the answer may have meant, the nearest reading first."""
    body = text.strip()
    if not body:
        return
    yield body
    fence = _FENCE.search(body)
    if fence and not body.startswith(("{", "[")):
        body = fence.group(1).strip()
        yield body
    start = min((i for i in (body.find("{"), body.find("[")) if i >= 0), default=-1)
    if start >= 0:
        yield from _mended(body[start:])


def _mended(text: str) -> Iterator[str]:
    """The first JSON value of `text` without its trailing commas; if it is cut off, its whole parts."""
    out: list[str] = []
    closers: list[str] = []
    items: list[int] = []  # for each open bracket, where in `out` its unfinished item begins
    half_string = False
    for match in _PART.finditer(text):
        part = match.group()
        if part in "}]":
            if out[-1] == ",":
                out.pop()
            if closers.pop() != part:
                return
            items.pop()
        elif part[0] == '"' and match.end() == len(text) and not _STRING.fullmatch(part):
            part, half_string = _HALF_ESCAPE.sub("", part) + '"', True
        out.append(_WORDS.get(part, part))
        if part in "{[":
            closers.append("}" if part == "{" else "]")
            items.append(len(out))
        elif part == ",":
            items[-1] = len(out)
        if len(closers) > _DEEPEST:
            return
        if not closers:
            yield "".join(out)
            return
    for depth in range(len(closers), 0, -1):
        whole = out[: items[depth - 1]]
        if whole[-1] == ",":
            whole.pop()
        yield "".join(whole + closers[:depth][::-1])
    if half_string:
        yield "".join(out + closers[::-1])


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): _clean_value(item) for name, item in value.items()}
    return value
