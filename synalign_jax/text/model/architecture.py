"""The sizes and choices that fix a network, and the names under which its weights are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Alternatives = tuple[tuple[str, ...], ...]

ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "sigmoid")
_ALL_BIASES = ("qkv", "out", "expand", "contract", "norm")


@dataclass(frozen=True)
class Architecture:
    """A transformer encoder. The defaults are BERT's choices (Devlin et al. 2019).

    Attributes:
        hidden: width of the feed-forward layer.
        positions: rows of the table of learned positions; 0 where positions are rotary.
        position_offset: the row of that table that the first token reads.
        longest: the longest text where there is no such table.
        token_types: rows of the token-type table; 0 where the family has none.
        token_width: width of the embedding tables where a linear map follows them; 0 for none.
        relative_buckets: buckets of the relative position bias (MPNet); 0 for none.
        frequencies: inverse frequencies of the rotary positions, one for each pair of a head's columns.
        local_frequencies: those of the layers that see a window alone.
        kv_heads: heads of keys and values, each shared by several of the queries; 0 for as many as queries.
        head_width: columns of a head; 0 for width / heads.
        norm: "layer" or "rms".
        placement: where the norms are: "post" behind the residual sum, "pre" before each part, "both" before
            and behind each part.
        first_norm: whether the first layer has its first norm (ModernBERT has none there).
        gated: two maps into the feed-forward layer, one gating the other (Shazeer 2020).
        biases: which maps have one, of qkv, out, expand, contract and norm.
        query_key_norm: queries and keys are normalised head by head.
        causal: a token sees those before it alone.
        window: in the layers marked in `local` a token sees others at most so far away.
        score_scale: what attention scores are multiplied by; None for 1 / sqrt(head_width).
        embedding_scale: what token embeddings are multiplied by.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    activation: str
    epsilon: float
    positions: int = 0
    position_offset: int = 0
    longest: int = 0
    token_types: int = 0
    token_width: int = 0
    relative_buckets: int = 0
    frequencies: tuple[float, ...] = ()
    local_frequencies: tuple[float, ...] = ()
    kv_heads: int = 0
    head_width: int = 0
    norm: str = "layer"
    placement: str = "post"
    embedding_norm: bool = True
    first_norm: bool = True
    final_norm: bool = False
    gated: bool = False
    biases: tuple[str, ...] = _ALL_BIASES
    query_key_norm: bool = False
    causal: bool = False
    window: int = 0
    local: tuple[bool, ...] = field(default=(), repr=False)
    score_scale: float | None = None
    embedding_scale: float = 1.0

    @property
    def max_tokens(self) -> int:
        """The longest text, special tokens included, that the model was made for."""
        return self.positions - self.position_offset if self.positions else self.longest

    @property
    def keys(self) -> int:
        return self.kv_heads or self.heads

    @property
    def depth(self) -> int:
        return self.head_width or self.width // self.heads

    @property
    def scale(self) -> float:
        return 1.0 / math.sqrt(self.depth) if self.score_scale is None else self.score_scale


@dataclass(frozen=True)
class Names:
    """Where a family keeps its weights.

    A part of ours has alternatives, for files written by different programs; each is a tuple of theirs,
    joined along the outputs. `name:1` is the second half of `name`'s outputs.

    Attributes:
        layer: what stands before the names of a layer, with `{i}`; without it all layers share their weights.
        inside: parts of a layer, as "attention.qkv".
        outside: other parts; "tokens" is the embedding table, whose name also tells any prefix.
        norm_offset: what is added to the weights of norms.
    """

    layer: tuple[str, ...]
    inside: Mapping[str, Alternatives]
    outside: Mapping[str, Alternatives]
    norm_offset: float = 0.0


def named(**parts: str | tuple[str, ...]) -> dict[str, Alternatives]:
    """`named(attention__qkv=("q", "k", "v"))`: parts with one alternative each."""
    return {
        part.replace("__", "."): ((theirs,) if isinstance(theirs, str) else theirs,)
        for part, theirs in parts.items()
    }
