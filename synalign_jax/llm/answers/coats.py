"""The right content in another coat: a value brought into the form that a schema asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_DEEPEST = 12
_FAR_TOO_LONG = 2  # times maxLength: longer rows go where others remain
_ITEM = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•])\s+", re.MULTILINE)
_MEANT = ("text", "value", "content", "sentence", "answer", "output", "example", "review", "title", "name")


class MisfitError(ValueError):
    """The value cannot be brought into the form."""


def fitted(value: Any, schema: Mapping[str, Any], *, loose: bool, depth: int = 0) -> Any:
    """`value` in the form of `schema`: by type, properties, required, items, enum and minLength.

    Text that holds JSON is decoded, a number becomes text where text is asked for and the reverse, fields
    that are not asked for go, and so do items of a list that do not fit. `loose` also takes a value out of an
    envelope, a list for the object whose only list it must be, and lines of text for a list.

    Raises:
        MisfitError: it does not fit.
    """
    if depth > _DEEPEST:
        raise MisfitError("nested too deeply")
    kind = schema.get("type")
    if isinstance(kind, list):
        for one in kind:
            try:
                return fitted(value, {**schema, "type": one}, loose=loose, depth=depth + 1)
            except MisfitError:
                continue
        raise MisfitError("of no kind asked for")
    if "enum" in schema:
        return _one_of(value, schema["enum"])
    if kind == "object":
        return _object(value, schema, loose, depth)
    if kind == "array":
        return _array(value, schema, loose, depth)
    if kind == "string":
        return _string(value, schema, loose)
    if kind in ("number", "integer"):
        return _number(value, kind)
    if kind == "boolean":
        return _boolean(value)
    if kind == "null" and value is not None:
        raise MisfitError("not null")
    return value


def _object(value: Any, schema: Mapping[str, Any], loose: bool, depth: int) -> dict[str, Any]:
    wanted: Mapping[str, Any] = schema.get("properties") or {}
    required = [name for name in schema.get("required") or () if name in wanted]
    value = _decoded(value)
    if isinstance(value, list):
        return _object_of_list(value, schema, wanted, required, loose, depth)
    if not isinstance(value, dict):
        raise MisfitError("not an object")
    if isinstance(value.get("properties"), dict) and "properties" not in wanted:
        value = value["properties"]  # the schema, with the answer in it; or nothing but the schema
        if any(isinstance(item, dict) and "type" in item for item in value.values()):
            raise MisfitError("the schema itself")
    named = _renamed(value, wanted) if loose else value
    try:
        return _fields(named, schema, wanted, required, loose, depth)
    except MisfitError:
        if not loose:
            raise
    lists = [item for item in value.values() if isinstance(_decoded(item), list)]
    if len(required) == 1 and _kind(wanted[required[0]]) == "array" and len(lists) == 1:
        return {required[0]: fitted(lists[0], wanted[required[0]], loose=loose, depth=depth + 1)}
    if len(required) == 1 and _kind(wanted[required[0]]) == "array" and _is_counted(value):
        return {required[0]: fitted(list(value.values()), wanted[required[0]], loose=loose, depth=depth + 1)}
    for inner in reversed(list(value.values())):  # an envelope
        if isinstance(_decoded(inner), dict | list):
            try:
                return fitted(inner, schema, loose=loose, depth=depth + 1)
            except MisfitError:
                continue
    raise MisfitError("fields are missing")


def _is_counted(value: Mapping[str, Any]) -> bool:
    """Whether the fields are items of a list: "text_1", "text_2"."""
    stems = {re.sub(r"\d+$", "", name) for name in value}
    return len(value) > 1 and len(stems) == 1 and stems.isdisjoint(value)


def _fields(
    value: Mapping[str, Any],
    schema: Mapping[str, Any],
    wanted: Mapping[str, Any],
    required: list[str],
    loose: bool,
    depth: int,
) -> dict[str, Any]:
    made = {}
    for name, form in wanted.items():
        if name not in value:
            continue
        try:
            made[name] = fitted(value[name], form, loose=loose, depth=depth + 1)
        except MisfitError:
            if name in required:
                raise
    if missing := [name for name in required if name not in made]:
        raise MisfitError(f"{missing[0]} is missing")
    if schema.get("additionalProperties", True) is not False:
        made |= {name: item for name, item in value.items() if name not in wanted}
    return made


def _object_of_list(
    value: list[Any],
    schema: Mapping[str, Any],
    wanted: Mapping[str, Any],
    required: list[str],
    loose: bool,
    depth: int,
) -> dict[str, Any]:
    if len(value) == 1 and isinstance(_decoded(value[0]), dict):
        try:
            return fitted(value[0], schema, loose=loose, depth=depth + 1)
        except MisfitError:
            pass
    if loose and len(required) == 1 and _kind(wanted[required[0]]) == "array":
        return {required[0]: fitted(value, wanted[required[0]], loose=loose, depth=depth + 1)}
    raise MisfitError("a list, not an object")


def _renamed(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Names that differ from those asked for in case, spaces, hyphens or a plural."""
    plain = {_plain(name): name for name in wanted}
    made: dict[str, Any] = {}
    for name, item in value.items():
        ours = name if name in wanted else plain.get(_plain(name), name)
        if ours in made and name != ours:
            continue
        made[ours] = item
    return made


def _array(value: Any, schema: Mapping[str, Any], loose: bool, depth: int) -> list[Any]:
    value = _decoded(value)
    if isinstance(value, dict) and loose:
        value = value.get("items", value)
    if isinstance(value, dict) and loose:
        value = list(value.values()) if len(value) > 1 or not value else next(iter(value.values()))
        value = _decoded(value)
    if isinstance(value, str) and value.strip():
        value = _items_of(value)
    if not isinstance(value, list):
        raise MisfitError("not a list")
    form = schema.get("items")
    if not isinstance(form, Mapping):
        return value
    # As many as stated, no more and no fewer: then each stands for something, and none may go.
    exact = "minItems" in schema and schema["minItems"] == schema.get("maxItems")
    if exact and len(value) != schema["minItems"]:
        raise MisfitError("not as many as asked for")
    made = []
    for item in value:
        try:
            made.append(fitted(item, form, loose=loose, depth=depth + 1))
        except MisfitError:
            if exact:
                raise
    if value and not made:
        raise MisfitError("no item fits")
    if not made and schema.get("minItems", 0) > 0:
        raise MisfitError("an empty list")
    return made if exact else _of_bearable_length(made, form)


def _of_bearable_length(items: list[Any], form: Mapping[str, Any]) -> list[Any]:
    most = form.get("maxLength")
    if not isinstance(most, int):
        return items
    kept = [item for item in items if not isinstance(item, str) or len(item) <= _FAR_TOO_LONG * most]
    return kept or items


def _items_of(text: str) -> list[str]:
    """The lines of a list written as one text; a text that is no list is one item."""
    parts = _ITEM.split(text)
    if len(parts) > 2:
        return [part.strip() for part in parts if part.strip()]
    inline = re.split(r"(?:^|\s)\(?\d{1,2}[.)]\s+", text)
    if len(inline) > 2:
        return [part.strip() for part in inline if part.strip()]
    rows = [line.strip() for line in text.splitlines() if line.strip()]
    return rows or [text]


def _string(value: Any, schema: Mapping[str, Any], loose: bool) -> str:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, int | float):
        value = str(value)
    elif isinstance(value, list):
        value = _listed(value)
    elif isinstance(value, Mapping) and loose:
        value = _text_in(value)
    if not isinstance(value, str):
        raise MisfitError("not text")
    if len(value) < schema.get("minLength", 0):
        raise MisfitError("too short")
    return value


def _listed(values: list[Any]) -> str:
    if not values or not all(isinstance(item, str | int | float) for item in values):
        raise MisfitError("a list, not text")
    return ", ".join(str(item) for item in values)


def _text_in(value: Mapping[str, Any]) -> str:
    """The text of an object that stands where text should: the field named for it, or the only one."""
    named = {_plain(name): item for name, item in value.items() if isinstance(item, str)}
    for name in _MEANT:
        if name in named:
            return named[name]
    if len(named) == 1:
        return next(iter(named.values()))
    raise MisfitError("an object, not text")


def _number(value: Any, kind: str) -> int | float:
    if isinstance(value, str):
        try:
            value = float(value.strip().rstrip("%"))
        except ValueError:
            raise MisfitError("not a number") from None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value in (float("inf"), float("-inf"))
    ):
        raise MisfitError("not a number")
    if value != value:
        raise MisfitError("not a number")
    if kind == "integer":
        if value != int(value):
            raise MisfitError("not a whole number")
        return int(value)
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "yes", "1"):
        return True
    if word in ("false", "no", "0"):
        return False
    raise MisfitError("neither true nor false")


def _one_of(value: Any, allowed: list[Any]) -> Any:
    if value in allowed:
        return value
    plain = {_plain(str(item)): item for item in allowed}
    if isinstance(value, str | int | float) and _plain(str(value)) in plain:
        return plain[_plain(str(value))]
    raise MisfitError("not one of those allowed")


def _decoded(value: Any) -> Any:
    """The value that a text holds as JSON, where it holds an object or a list."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value, strict=False)
        except (ValueError, RecursionError):
            return value
        return inner if isinstance(inner, dict | list) else value
    return value


def _kind(schema: Any) -> Any:
    return schema.get("type") if isinstance(schema, Mapping) else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower()).rstrip("s")
