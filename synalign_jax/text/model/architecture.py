"""The BERT-family architectures: what config.json and the weight names mean for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synalign_jax.text.errors import ModelError


@dataclass(frozen=True)
class Architecture:
    """The sizes and choices that fix a BERT-family network.

    Attributes:
        position_offset: the row of the position table that the first token reads.
        token_types: rows of the token-type table; 0 where the family has none.
        relative_buckets: buckets of the relative position bias; 0 where the family has none.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int
    activation: str
    epsilon: float
    position_offset: int = 0
    token_types: int = 0
    relative_buckets: int = 0

    @property
    def max_tokens(self) -> int:
        """The longest text, special tokens included, that the position table holds."""
        return self.positions - self.position_offset


@dataclass(frozen=True)
class Names:
    """Where one family keeps its weights. `layer` holds `{i}`; linear maps have .weight and .bias."""

    layer: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    expand: str
    contract: str
    output_norm: str


_BERT = Names(
    layer="encoder.layer.{i}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    expand="intermediate.dense",
    contract="output.dense",
    output_norm="output.LayerNorm",
)
_DISTILBERT = Names(
    layer="transformer.layer.{i}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    expand="ffn.lin1",
    contract="ffn.lin2",
    output_norm="output_layer_norm",
)
_MPNET = Names(
    layer="encoder.layer.{i}.",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_out="attention.attn.o",
    attention_norm="attention.LayerNorm",
    expand="intermediate.dense",
    contract="output.dense",
    output_norm="output.LayerNorm",
)
# model_type of config.json -> names of its weights
SUPPORTED: Mapping[str, Names] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
}
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")


def read_architecture(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    """The architecture that a Hugging Face config.json describes, and its weight names.

    Raises:
        ModelError: a family, an activation or a kind of position embedding that is not supported, or a
            missing entry.
    """
    family = config.get("model_type")
    names = SUPPORTED.get(str(family))
    if names is None:
        raise ModelError(
            f"config.json: model_type {family!r} is not supported; supported are {', '.join(SUPPORTED)}"
            " (MiniLM, bge, e5, gte-small/base/large, mpnet and multilingual-e5 are among these)"
        )
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("sinusoidal_pos_embds"):
        raise ModelError("config.json: only learned absolute position embeddings are supported")
    try:
        if family == "distilbert":
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
        else:
            bert = family == "bert"
            architecture = Architecture(
                vocabulary=config["vocab_size"],
                width=config["hidden_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                hidden=config["intermediate_size"],
                positions=config["max_position_embeddings"],
                activation=config.get("hidden_act", "gelu"),
                epsilon=config.get("layer_norm_eps", 1e-12),
                # RoBERTa and its kin count positions from the padding id + 1; MPNet's padding id is 1.
                position_offset=0 if bert else 2 if family == "mpnet" else config.get("pad_token_id", 1) + 1,
                token_types=0 if family == "mpnet" else config.get("type_vocab_size", 2),
                relative_buckets=config.get("relative_attention_num_buckets", 32) if family == "mpnet" else 0,
            )
    except KeyError as error:
        raise ModelError(f"config.json: {error.args[0]!r} is missing for model_type {family!r}") from None
    if architecture.activation not in ACTIVATIONS:
        raise ModelError(
            f"config.json: activation {architecture.activation!r} is not supported;"
            f" supported are {', '.join(ACTIVATIONS)}"
        )
    return architecture, names
