"""JSON answers: found in the text, mended where the damage is small, fitted to the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from .answers import found
from .answers.coats import MisfitError, fitted
from .protocol import BadAnswer

_SURROGATE = re.compile("[\ud800-\udfff]")
_LENGTHS = ("minItems", "maxItems", "maxLength")


def clean(text: str) -> str:
    """The text without NUL and lone surrogates, which files and tokenizers refuse."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATE.sub("�", text)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise ValueError unless `schema` is a JSON schema."""
    _validators(json.dumps(schema, sort_keys=True))


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in `text` that fits `schema`.

    Thoughts before the answer are passed over; of several values the last that fits is taken, but values that
    each hold some of the items of the one list that is asked for, and together no more than that, are one.
    Fences, words around the JSON, trailing commas, Python's words and bare line ends in strings are mended.
    Of an answer that was cut off the whole items are kept; if the schema refuses those, a string that lacks
    its end is closed where it stands.

    The value fits the schema but for `minItems`, `maxItems` and `maxLength`: those are wishes, which a model
    keeps only where a grammar makes it (a stated number of items, `minItems` = `maxItems`, is none). What
    comes in another coat is taken out of it (see `answers.coats`), and an item of a list that does not fit is
    dropped and not the list.

    Raises:
        BadAnswer: no JSON, or JSON that does not fit; the message is fit to be shown to the model.
    """
    validator, lenient = _validators(json.dumps(schema, sort_keys=True))
    refusal = ""
    readings: list[tuple[Any, bool]] = []
    if (whole := _in_portions(text, schema)) is not None and (fit := _fit(whole, schema, lenient, True)):
        return fit[0]
    for candidate in found.candidates(text):
        try:
            value = _clean_value(found.decoded(candidate.text))
            error = best_match(validator.iter_errors(value))
        except RecursionError:
            refusal = refusal or "the JSON is nested too deeply"
            continue
        except ValueError as problem:
            refusal = refusal or f"the answer is not JSON: {problem}"
            continue
        if error is None:
            return value
        where = "/".join(str(part) for part in error.absolute_path) or "the top level"
        refusal = f"the JSON does not fit its schema at {where}: {error.message[:300]}"
        readings.append((value, candidate.whole))
    # None fits as it stands. Whole values before those that were cut off, and the nearest coat first.
    for loose in (False, True):
        for value, _ in sorted(readings, key=lambda reading: not reading[1]):
            if (fit := _fit(value, schema, lenient, loose)) is not None:
                return fit[0]
    if (rows := found.lines(text)) and (fit := _fit(rows, schema, lenient, True)) is not None:
        return fit[0]
    raise BadAnswer(refusal or found.why_nothing(text), raw=text)


def _in_portions(text: str, schema: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """The list that comes in several values, one behind the other: what is the same counts once."""
    wanted = schema.get("properties") or {}
    name = next(iter(wanted), "")
    most = wanted[name].get("maxItems") if len(wanted) == 1 and isinstance(wanted[name], Mapping) else None
    if not isinstance(most, int) or text.count("{") < 2:
        return None
    if text.count(f'"{name}"') == 1:  # the usual answer
        return None
    items: list[Any] = []
    try:
        values = [found.decoded(value) for value in found.series(text)]
        listed = not values  # one list of them
        if listed:
            values = found.decoded(found.without_thoughts(text.strip()))
        if not isinstance(values, list):
            return None
        kinds = {tuple(sorted(value)) if isinstance(value, dict) else None for value in values}
        single = len(kinds) == 1 and name not in (kinds.pop() or (name,))  # an item each
        for value in values:
            if not single and not (isinstance(value, dict) and isinstance(value.get(name), list)):
                return None
            items += [item for item in ([value] if single else value[name]) if item not in items]
    except (ValueError, RecursionError):
        return None
    return _clean_value({name: items}) if items and (listed or len(items) <= most) else None


def _fit(value: Any, schema: Mapping[str, Any], lenient: Validator, loose: bool) -> tuple[Any] | None:
    try:
        made = fitted(value, schema, loose=loose)
        return (made,) if lenient.is_valid(made) else None
    except (MisfitError, RecursionError, ValueError):
        return None


@lru_cache(maxsize=64)
def _validators(schema: str) -> tuple[Validator, Validator]:
    """As the schema stands, and without the limits that are wishes."""
    value = json.loads(schema)
    kind = validator_for(value, default=Draft202012Validator)
    try:
        kind.check_schema(value)
    except SchemaError as error:
        raise ValueError(f"schema: not a JSON schema: {error.message}") from None
    return kind(value), kind(_without_lengths(value))


def _without_lengths(schema: Any, *, names: bool = False) -> Any:
    if isinstance(schema, list):
        return [_without_lengths(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    exact = "minItems" in schema and schema["minItems"] == schema.get("maxItems")
    return {
        key: value
        if key in ("enum", "const") and not names
        else _without_lengths(value, names=not names and key in ("properties", "$defs"))
        for key, value in schema.items()
        if names or key not in _LENGTHS or (exact and key != "maxLength")
    }


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): _clean_value(item) for name, item in value.items()}
    return value
