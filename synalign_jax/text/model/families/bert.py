"""BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): MiniLM, bge, e5, gte, arctic-embed, bge-m3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names, named

EMBEDDINGS = named(
    tokens="embeddings.word_embeddings",
    positions="embeddings.position_embeddings",
    token_types="embeddings.token_type_embeddings",  # noqa: S106 (a table)
    norm="embeddings.LayerNorm",
)
NAMES = Names(
    layer=("encoder.layer.{i}.",),
    inside=named(
        attention__qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
        attention__out="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        expand="intermediate.dense",
        contract="output.dense",
        output_norm="output.LayerNorm",
    ),
    outside=EMBEDDINGS,
)


def check_positions(config: Mapping[str, Any]) -> None:
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("sinusoidal_pos_embds"):
        raise ModelError("only learned absolute position embeddings are supported in this family")


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    check_positions(config)
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        positions=config["max_position_embeddings"],
        activation=config.get("hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        # RoBERTa and its kin count positions from the padding id + 1.
        position_offset=0 if config["model_type"] == "bert" else config.get("pad_token_id", 1) + 1,
        token_types=config.get("type_vocab_size", 2),
    )
    return architecture, NAMES
