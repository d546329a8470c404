"""ALBERT (Lan et al. 2020): BERT whose layers share their weights, behind narrower embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names, named

from . import bert

_NAMES = Names(
    layer=("encoder.albert_layer_groups.0.albert_layers.0.",),
    inside=named(
        attention__qkv=("attention.query", "attention.key", "attention.value"),
        attention__out="attention.dense",
        attention_norm="attention.LayerNorm",
        expand="ffn",
        contract="ffn_output",
        output_norm="full_layer_layer_norm",
    ),
    outside=bert.EMBEDDINGS | named(project="encoder.embedding_hidden_mapping_in"),
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    if config.get("num_hidden_groups", 1) != 1 or config.get("inner_group_num", 1) != 1:
        raise ModelError("only an ALBERT of one group with one layer is supported")
    defaults = {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12}
    architecture, _ = bert.read({**defaults, **config, "model_type": "bert"})
    return replace(architecture, token_width=config.get("embedding_size", 128)), _NAMES
