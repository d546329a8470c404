"""A JSON schema in the forms that servers take, from the strictest to plain words."""

import json
from collections.abc import Mapping
from typing import Any

FORMATS = ("strict", "lean", "plain", "object", "words")
_LENGTHS = {
    "minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "minimum", "maximum", "multipleOf",
    "uniqueItems", "minProperties", "maxProperties", "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip
_FRILLS = _LENGTHS | {"additionalProperties", "$schema", "title", "default", "examples", "$id"}


def in_words(schema: Mapping[str, Any]) -> str:
    """What to append to the last message."""
    return "\n\nAnswer with nothing but JSON that fits this JSON schema: " + json.dumps(dict(schema))


def response_format(schema: Mapping[str, Any], place: int) -> dict[str, Any] | None:
    """The value of `response_format` for the form at that place of FORMATS; None for plain words."""
    form = FORMATS[place]
    if form == "words":
        return None
    if form == "object":
        return {"type": "json_object"}
    if form == "plain":
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": _less(schema, _FRILLS)}}
    whole = dict(schema) if form == "strict" else _less(schema, _LENGTHS)
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": whole}}


def _less(schema: Any, keywords: set[str], *, names: bool = False) -> Any:
    """The schema without these keywords; below `properties` the names are the user's, not keywords."""
    if isinstance(schema, list):
        return [_less(item, keywords) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: _less(value, keywords, names=not names and key in ("properties", "$defs", "definitions"))
        if key not in ("enum", "const")
        else value
        for key, value in schema.items()
        if names or key not in keywords
    }
