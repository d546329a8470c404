"""gte's "new" architecture (Zhang et al. 2024, mGTE): gte-*-v1.5, gte-multilingual, arctic-embed-m-v2.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names, named
from synalign_jax.text.model.rotary import inverse_frequencies, rotary_settings

# Files of the authors' own code (with queries, keys and values packed or not), and of transformers' class.
_NAMES = Names(
    layer=("encoder.layer.{i}.", "layers.{i}."),
    inside={
        "attention.qkv": (
            ("attention.qkv_proj",),
            ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ),
        "attention.out": (("attention.o_proj",), ("self_attn.o_proj",)),
        "attention_norm": (("attn_ln",), ("post_attention_layernorm",)),
        # Its halves are the gated one, then the gate, on which the activation acts.
        "expand": (("mlp.up_gate_proj:1", "mlp.up_gate_proj:0"), ("mlp.gate_proj", "mlp.up_proj")),
        "contract": (("mlp.down_proj",),),
        "output_norm": (("mlp_ln",), ("post_mlp_layernorm",)),
    },
    outside=named(
        tokens="embeddings.word_embeddings",
        token_types="embeddings.token_type_embeddings",  # noqa: S106 (a table)
        norm="embeddings.LayerNorm",
    ),
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    for name, known in {"position_embedding_type": "rope", "layer_norm_type": "layer_norm"}.items():
        if config.get(name, known) != known:
            raise ModelError(f"{name} = {config[name]!r} is not supported in this family")
    if config.get("logn_attention_scale"):
        raise ModelError("attention scaled by the length of the text (logn_attention_scale) is not supported")
    width, heads = config["hidden_size"], config["num_attention_heads"]
    theta = config.get("rope_theta") or (10_000.0 if config["model_type"] == "new" else 160_000.0)
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=width,
        layers=config["num_hidden_layers"],
        heads=heads,
        hidden=config["intermediate_size"],
        activation=config.get("hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        longest=config["max_position_embeddings"],
        token_types=config.get("type_vocab_size", 1),
        frequencies=inverse_frequencies(width // heads, rotary_settings(config, base=float(theta))),
        gated=True,
        biases=("qkv", "out", "contract", "norm"),
    )
    return architecture, _NAMES
