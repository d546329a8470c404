"""DistilBERT (Sanh et al. 2019): multi-qa-distilbert, distiluse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.model.architecture import Architecture, Names, named

from .bert import EMBEDDINGS, check_positions

_NAMES = Names(
    layer=("transformer.layer.{i}.",),
    inside=named(
        attention__qkv=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention__out="attention.out_lin",
        attention_norm="sa_layer_norm",
        expand="ffn.lin1",
        contract="ffn.lin2",
        output_norm="output_layer_norm",
    ),
    outside=EMBEDDINGS,
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    check_positions(config)
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=config["dim"],
        layers=config["n_layers"],
        heads=config["n_heads"],
        hidden=config["hidden_dim"],
        positions=config["max_position_embeddings"],
        activation=config.get("activation", "gelu"),
        epsilon=1e-12,
    )
    return architecture, _NAMES
