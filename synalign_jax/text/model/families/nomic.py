"""nomic-embed-text (Nussbaum et al. 2024): post-norm with rotary positions and gated feed-forward layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import Architecture, Names
from synalign_jax.text.model.rotary import inverse_frequencies, rotary_settings

# Files of the authors' own code, and of transformers' class for them.
_NAMES = Names(
    layer=("encoder.layers.{i}.", "layers.{i}."),
    inside={
        "attention.qkv": (("attn.Wqkv",), ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        "attention.out": (("attn.out_proj",), ("self_attn.o_proj",)),
        "attention_norm": (("norm1",), ("post_attention_layernorm",)),
        "expand": (("mlp.fc12", "mlp.fc11"), ("mlp.gate_proj", "mlp.up_proj"), ("mlp.fc1",)),
        "contract": (("mlp.fc2",), ("mlp.down_proj",)),
        "output_norm": (("norm2",), ("post_mlp_layernorm",)),
    },
    outside={
        "tokens": (("embeddings.word_embeddings",),),
        "token_types": (("embeddings.token_type_embeddings",),),
        "norm": (("emb_ln",), ("embeddings.LayerNorm",)),
    },
)
_GATED = {"swiglu": "silu", "geglu": "gelu", "glu": "sigmoid"}
# What its code has besides, in models that are not encoders of text or not dense ones.
_REFUSED = {"prenorm": False, "causal": False, "parallel_block": False, "use_rms_norm": False,
            "rotary_emb_interleaved": False, "rotary_head_dim": False, "num_experts": 0}  # fmt: skip


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    for name, known in _REFUSED.items():
        if (config.get(name) or known) != known:
            raise ModelError(f"{name} = {config[name]!r} is not supported")
    if config.get("rotary_emb_fraction", 1.0) != 1.0:
        raise ModelError("rotary positions of a part of each head's columns are not supported")

    def size(*names: str) -> int:
        found = next((config[name] for name in names if config.get(name) is not None), None)
        if found is None:
            raise KeyError(names[0])
        return found

    width, heads = size("n_embd", "hidden_size"), size("n_head", "num_attention_heads")
    kind = config.get(
        "activation_function", {"silu": "swiglu", "gelu": "geglu"}.get(config.get("hidden_act", "silu"))
    )
    longest = size("n_positions", "max_position_embeddings")
    if config.get("rotary_scaling_factor"):
        # Beyond these its frequencies depend on the longest text of a batch, and so would a text's vector.
        longest = min(longest, config.get("max_trained_positions", 2048))
    given = {
        "qkv": config.get("qkv_proj_bias", False),
        "out": config.get("qkv_proj_bias", False),
        "expand": config.get("mlp_fc1_bias", False),
        "contract": config.get("mlp_fc2_bias", False),
    }
    multiple = config.get("pad_vocab_size_multiple") or 1
    architecture = Architecture(
        vocabulary=-(-config["vocab_size"] // multiple) * multiple,
        width=width,
        layers=size("n_layer", "num_hidden_layers"),
        heads=heads,
        hidden=config.get("n_inner") or config.get("intermediate_size") or 4 * width,
        activation=_GATED.get(str(kind), str(kind)),
        epsilon=config.get("layer_norm_epsilon", config.get("layer_norm_eps", 1e-12)),
        longest=longest,
        token_types=config.get("type_vocab_size", 2),
        frequencies=inverse_frequencies(
            width // heads, rotary_settings(config, base=float(config.get("rotary_emb_base", 1000.0)))
        ),
        gated=kind in _GATED,
        biases=("norm", *(name for name, there in given.items() if there)),
    )
    return architecture, _NAMES
