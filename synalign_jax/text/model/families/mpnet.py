"""MPNet (Song et al. 2020): all-mpnet-base-v2. Learned positions and T5's relative bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from synalign_jax.text.model.architecture import Architecture, Names, named

from . import bert

_NAMES = Names(
    layer=("encoder.layer.{i}.",),
    inside=named(
        attention__qkv=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        attention__out="attention.attn.o",
        attention_norm="attention.LayerNorm",
        expand="intermediate.dense",
        contract="output.dense",
        output_norm="output.LayerNorm",
    ),
    outside=bert.EMBEDDINGS | named(relative="encoder.relative_attention_bias"),
)


def read(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    architecture, _ = bert.read(config)
    return (
        replace(
            architecture,
            position_offset=2,  # its padding id is 1, and positions are counted from the id after it
            token_types=0,
            relative_buckets=config.get("relative_attention_num_buckets", 32),
        ),
        _NAMES,
    )
