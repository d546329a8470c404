"""ModernBERT (Warner et al. 2024): modernbert-embed, gte-modernbert. Layers with a window among full ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.model.architecture import Architecture, Names, named
from synalign_jax.text.model.rotary import inverse_frequencies, rotary_settings

_NAMES = Names(
    layer=("layers.{i}.",),
    inside=named(
        attention__qkv="attn.Wqkv",
        attention__out="attn.Wo",
        attention_norm="attn_norm",
        expand="mlp.Wi",
        contract="mlp.Wo",
        output_norm="mlp_norm",
    ),
    outside=named(tokens="embeddings.tok_embeddings", norm="embeddings.norm", final_norm="final_norm"),
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    layers, heads, width = config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"]
    every = config.get("global_attn_every_n_layers", 3)
    kinds = config.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention" for i in range(layers)
    ]
    full = rotary_settings(config, "full_attention", base=float(config.get("global_rope_theta", 160_000.0)))
    near = rotary_settings(
        config, "sliding_attention", base=float(config.get("local_rope_theta", 10_000.0) or full.base)
    )
    biases = {
        "qkv": config.get("attention_bias", False),
        "out": config.get("attention_bias", False),
        "expand": config.get("mlp_bias", False),
        "contract": config.get("mlp_bias", False),
        "norm": config.get("norm_bias", False),
    }
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=width,
        layers=layers,
        heads=heads,
        hidden=config["intermediate_size"],
        activation=config.get("hidden_activation", "gelu"),
        epsilon=config.get("norm_eps", 1e-5),
        longest=config.get("max_position_embeddings", 8192),
        frequencies=inverse_frequencies(width // heads, full),
        local_frequencies=inverse_frequencies(width // heads, near),
        window=config.get("local_attention", 128) // 2,
        local=tuple(kind == "sliding_attention" for kind in kinds),
        placement="pre",
        first_norm=False,
        final_norm=True,
        gated=True,
        biases=tuple(name for name, there in biases.items() if there),
    )
    return architecture, _NAMES
