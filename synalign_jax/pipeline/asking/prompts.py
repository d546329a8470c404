"""Prompts: what the LLM is asked, from a preset or the user's own template."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from synalign_jax.pipeline.config import Config, ConfigError
from synalign_jax.pipeline.data.fields import PLAIN, Fields
from synalign_jax.pipeline.data.values import labels_in

# Demonstrations of long documents are cut so that a cluster fits any context.
_DEMONSTRATIONS_CHARACTERS = 2_400
PRESETS = ("agnews", "amazon", "generic", "sst2")
# Templates are the user's; texts from data and LLM are only ever values in them, never parsed as templates.
_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)


# What a template for rows may use besides the task, the label and the demonstrations.
ROWS_SAMPLE = {
    "attributes": {"style": "plain"}, "count": 2, "good": [], "bad": [], "again": False, "fields": {}
}  # fmt: skip


@dataclass(frozen=True)
class Prompts:
    """Everything needed to ask. `attributes` maps each name to the question that it answers.

    The `_list` templates are texts to go on with; `own` says that the template for rows is the user's.
    """

    task: str
    attributes: Mapping[str, str]
    attributes_template: Template
    rows_template: Template
    names_template: Template
    attributes_list_template: Template
    rows_list_template: Template
    judge_template: Template
    own: bool = False

    def with_attributes(self, attributes: Mapping[str, str]) -> Prompts:
        return replace(self, attributes=dict(attributes))


def load_prompts(config: Config, fields: Fields = PLAIN) -> Prompts:
    """The preset that the config names, with the config's own task, attributes and templates in place.

    Args:
        fields: what the rows are made of, by which they are called where neither preset nor config does.

    Raises:
        ConfigError: an unknown preset, a template that is missing or does not compile or render.
    """
    name = config.reason.preset
    if name not in PRESETS:
        raise ConfigError(f"[reason] preset '{name}' is not known; use one of {', '.join(PRESETS)}")
    preset = tomllib.loads(_packaged(f"presets/{name}.toml"))
    prompts = Prompts(
        task=config.reason.task or preset.get("task") or fields.nature.rows,
        attributes=config.reason.attributes or preset["attributes"],
        attributes_template=_template(config.reason.template, "attributes"),
        rows_template=_template(config.generate.template, "rows"),
        names_template=_template(None, "names"),
        attributes_list_template=_template(None, "attributes_list"),
        rows_list_template=_template(None, "rows_list"),
        judge_template=_template(None, "judge"),
        own=config.generate.template is not None,
    )
    # A template that cannot render should say so now, not after an hour of generation.
    sample: dict[str, Any] = {
        "task": prompts.task,
        "label": "a",
        "labelled": labelled(config, "a"),
        "demonstrations": ["b"],
    }
    render(prompts.attributes_template, sample | {"attributes": {"style": "plain"}}, "[reason] template")
    render(prompts.rows_template, ROWS_SAMPLE | sample, "[generate] template")
    return prompts


def render(template: Template, values: Mapping[str, Any], setting: str = "template") -> str:
    """Fill a template in. Raises ConfigError when it uses a value that does not exist."""
    try:
        return template.render(values)
    except TemplateError as error:
        raise ConfigError(f"{setting}: {error}; it may use {', '.join(sorted(values))}") from error


def _packaged(name: str) -> str:
    return resources.files("synalign_jax.pipeline.asking").joinpath(name).read_text(encoding="utf-8")


def _template(path: str | None, name: str) -> Template:
    try:
        source = Path(path).read_text(encoding="utf-8") if path else _packaged(f"templates/{name}.j2")
        return _ENVIRONMENT.from_string(source)
    except (OSError, UnicodeDecodeError, TemplateError) as error:
        raise ConfigError(f"the template {path} cannot be used: {error}") from error


def labelled(config: Config, label: str) -> str:
    """How a prompt says which label texts have: words with a blank before them, or nothing."""
    if config.data.multi_label:
        several = labels_in(label)
        if len(several) != 1:
            quoted = [f'"{one}"' for one in several]
            return (
                f" with the labels {', '.join(quoted[:-1])} and {quoted[-1]}"
                if several
                else " without a label"
            )
    return f' with the label "{label}"' if label else ""


def shown(demonstrations: list[str]) -> list[str]:
    """Demonstrations on one line each, cut to a common budget."""
    limit = _DEMONSTRATIONS_CHARACTERS // max(len(demonstrations), 1)
    return [_cut(" ".join(text.split()), limit) for text in demonstrations]


def shown_values(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Demonstrations of several fields, cut to a common budget; what a short field leaves goes to others."""
    limit = _DEMONSTRATIONS_CHARACTERS // max(len(rows), 1)
    found = []
    for row in rows:
        left, parts = limit, dict(row)
        for number, name in enumerate(sorted(row, key=lambda name: len(row[name]))):
            parts[name] = _cut(row[name], left // (len(row) - number))
            left -= len(parts[name])
        found.append(parts)
    return found


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit].rsplit(' ', 1)[0]} ..."
