"""EmbeddingGemma (Vera et al. 2025): Gemma 3 that sees both ways, with norms before and behind each part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names, named
from synalign_jax.text.model.rotary import inverse_frequencies, rotary_settings

from . import decoder

_NAMES = replace(
    decoder.NAMES,
    inside={
        **decoder.NAMES.inside,
        **named(
            attention_after="post_attention_layernorm",
            output_norm="pre_feedforward_layernorm",
            output_after="post_feedforward_layernorm",
        ),
    },
    norm_offset=1.0,
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    if config.get("attn_logit_softcapping"):
        raise ModelError("attn_logit_softcapping is not supported")
    layers, heads, width = config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"]
    depth, window = config.get("head_dim", 256), config.get("sliding_window") or 4096
    every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    kinds = config.get("layer_types") or [
        "full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(layers)
    ]
    both_ways = bool(config.get("use_bidirectional_attention"))
    full = rotary_settings(config, "full_attention", base=float(config.get("rope_theta", 1_000_000.0)))
    # What stretches the full layers' frequencies is not meant for those with a window.
    own = {"rope_parameters": config.get("rope_parameters")}
    near = rotary_settings(own, "sliding_attention", base=float(config.get("rope_local_base_freq", 10_000.0)))
    bias = config.get("attention_bias", False)
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=config.get("num_key_value_heads", 4),
        head_width=depth,
        hidden=config["intermediate_size"],
        activation=config.get("hidden_activation", "gelu_pytorch_tanh"),
        epsilon=config.get("rms_norm_eps", 1e-6),
        longest=config["max_position_embeddings"],
        frequencies=inverse_frequencies(depth, full),
        local_frequencies=inverse_frequencies(depth, near),
        # Both ways the configured number is the whole window, else what lies behind with the token itself.
        window=window // 2 if both_ways else window - 1,
        local=tuple(kind == "sliding_attention" for kind in kinds),
        norm="rms",
        placement="both",
        embedding_norm=False,
        final_norm=True,
        gated=True,
        biases=("qkv", "out") if bias else (),
        query_key_norm=True,
        causal=not both_ways,
        score_scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
        embedding_scale=math.sqrt(width),
    )
    return architecture, _NAMES
