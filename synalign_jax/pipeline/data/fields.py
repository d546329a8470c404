"""Rows of more than one text: the fields that a row is made of, and the text that they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .columns import Nature, Template, nature_of
from .formats.chat import chat_turns

OURS = frozenset(
    {
        "index", "text", "label", "part", "asked_label", "cluster", "demonstrations", "attributes",
        "prompt_hash", "model", "reason", "weight", "distribution", "nearest_real", "nearest_distance",
    }
)  # fmt: skip
"""Columns of a run's tables; a field of such a name is kept as `original_NAME`."""


@dataclass(frozen=True)
class Field:
    """
    Attributes:
        name: in the template, and to the model.
        column: in the tables of a run.
        description: for the model; may be empty.
        optional: whether it may be blank in a row.
        roles: who speaks, where it is a conversation: its value is a text with a turn a line then.
    """

    name: str
    column: str
    description: str
    optional: bool
    roles: tuple[str, ...] = ()

    def turns(self, value: str) -> list[dict[str, str]] | None:
        """The turns of a conversation's text; None of one that has none."""
        return chat_turns(value, self.roles) if self.roles else None


@dataclass(frozen=True)
class Fields:
    """What the rows of a run are made of. `PLAIN`, without a field, stands for rows of one text.

    Attributes:
        template: makes the text of a row; see `columns.Template`.
    """

    template: str = ""
    fields: tuple[Field, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields)

    @property
    def names(self) -> list[str]:
        return [field.name for field in self.fields]

    @property
    def descriptions(self) -> dict[str, str]:
        return {field.name: field.description for field in self.fields}

    @property
    def nature(self) -> Nature:
        return nature_of(self.names, [field.name for field in self.fields if field.roles])

    def text(self, values: Mapping[str, str]) -> str:
        """The text of a row from the value of each field."""
        return Template(self.template).render(values, "row")

    def columns(self, values: Mapping[str, str]) -> dict[str, str]:
        """The values under the names of their columns."""
        return {field.column: values[field.name] for field in self.fields}

    def values(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The values of a row of one of the run's tables."""
        return {field.name: row[field.column] for field in self.fields}

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"template": self.template, "fields": [asdict(field) for field in self.fields]}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Fields:
        fields = tuple(
            Field(**{**field, "roles": tuple(field.get("roles", ()))}) for field in plain["fields"]
        )
        return cls(plain["template"], fields)


PLAIN = Fields()


def template_of(text: str, described: Mapping[str, str]) -> str:
    """What makes the text: `text` itself, or one line a described field where it is the usual name."""
    return "\n".join(f"{{{name}}}" for name in described) if described and text == "text" else text


def fields_of(
    template: str,
    described: Mapping[str, str],
    rows: Sequence[Mapping[str, str]],
    chats: Mapping[str, tuple[str, ...]] | None = None,
) -> Fields:
    """The fields of a template.

    Args:
        described: name to description; a name may end in "?" as in the template.
        rows: values of real rows: a field that is blank in one of them may be blank.
        chats: of those that are conversations, who speaks in them.
    """
    parts = Template(template).parts
    told = {name.rstrip("?"): text for name, text in described.items()}
    optional = {name for name, may_be in parts if may_be}
    optional |= {name for name, _ in parts if any(not row[name].strip() for row in rows)}
    taken: set[str] = set()
    fields = []
    for name in dict.fromkeys(name for name, _ in parts):
        column = name
        while column in OURS or column in taken:
            column = f"original_{column}"
        taken.add(column)
        roles = (chats or {}).get(name, ())
        if roles and not all(chat_turns(row[name], roles) for row in rows if row[name].strip()):
            roles = ()  # some rows are texts
        about = told.get(name, "")
        if roles and not about:
            about = f"the turns of a conversation, each with its role ({', '.join(roles)}) and its content"
        fields.append(Field(name, column, about, name in optional, roles))
    return Fields(template, tuple(fields))
