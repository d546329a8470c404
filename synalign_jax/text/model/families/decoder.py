"""Qwen3-Embedding (Zhang et al. 2025) and other decoders of Llama's form that embed: e5-mistral, EuroBERT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names, named
from synalign_jax.text.model.rotary import inverse_frequencies, rotary_settings

NAMES = Names(
    layer=("layers.{i}.",),
    inside=named(
        attention__qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention__out="self_attn.o_proj",
        attention__query_norm="self_attn.q_norm",
        attention__key_norm="self_attn.k_norm",
        attention_norm="input_layernorm",
        expand=("mlp.gate_proj", "mlp.up_proj"),
        contract="mlp.down_proj",
        output_norm="post_attention_layernorm",
    ),
    outside=named(tokens="embed_tokens", final_norm="norm"),
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    family = config["model_type"]
    layers, heads, width = config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"]
    depth = config.get("head_dim") or (128 if family == "qwen3" else width // heads)
    local, window = _windows(config, layers)
    if config.get("attn_logit_softcapping"):
        raise ModelError("attn_logit_softcapping is not supported")
    attention, inner = config.get("attention_bias", family == "qwen2"), config.get("mlp_bias", False)
    given = {"qkv": attention, "out": attention and family != "qwen2", "expand": inner, "contract": inner}
    bidirectional = config.get("use_bidirectional_attention") or config.get("is_causal") is False
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_width=depth,
        hidden=config["intermediate_size"],
        activation=config.get("hidden_act", "silu"),
        epsilon=config.get("rms_norm_eps", 1e-5 if family == "eurobert" else 1e-6),
        longest=config["max_position_embeddings"],
        frequencies=inverse_frequencies(
            depth, rotary_settings(config, base=float(config.get("rope_theta") or 10_000.0))
        ),
        norm="rms",
        placement="pre",
        embedding_norm=False,
        final_norm=True,
        gated=True,
        biases=tuple(name for name, there in given.items() if there),
        query_key_norm=family == "qwen3",
        causal=family != "eurobert" and not bidirectional,
        window=window,
        local=local,
    )
    return architecture, NAMES


def _windows(config: Mapping[str, Any], layers: int) -> tuple[tuple[bool, ...], int]:
    """Which layers see a window alone, and how far: the configured number counts the token itself."""
    size = config.get("sliding_window")
    on = config.get("use_sliding_window", config["model_type"] == "mistral")
    if not size or not on:
        return (), 0
    kinds = config.get("layer_types")
    if kinds is None:
        first = 0 if config["model_type"] == "mistral" else config.get("max_window_layers", 28)
        return tuple(i >= first for i in range(layers)), size - 1
    return tuple(kind == "sliding_attention" for kind in kinds), size - 1
