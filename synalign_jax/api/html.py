"""Pieces of HTML for a notebook."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2

_ENVIRONMENT = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def page(name: str, **values: Any) -> str:
    """The template of that name, filled in; all values are escaped."""
    source = resources.files("synalign_jax.api").joinpath(f"templates/{name}.html.jinja")
    return _ENVIRONMENT.from_string(source.read_text(encoding="utf-8")).render(values)
