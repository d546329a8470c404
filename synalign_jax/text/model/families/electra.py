"""ELECTRA's discriminator (Clark et al. 2020): BERT behind narrower embeddings and a linear map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synalign_jax.text.model.architecture import Architecture, Names, named

from . import bert


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    architecture, names = bert.read({**config, "model_type": "bert"})
    narrow = config.get("embedding_size", 128)
    if narrow != architecture.width:
        architecture = replace(architecture, token_width=narrow)
    return architecture, replace(names, outside={**names.outside, **named(project="embeddings_project")})
