"""The encoder on packed rows, in Flax nnx: one network for every family."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from .architecture import Architecture
from .attention import Attention, Places, relative_buckets
from .layers import ACTIVATE, linear, norm


class Layer(nnx.Module):
    """One transformer layer, its norms where the architecture has them."""

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width, hidden, biases = architecture.width, architecture.hidden, architecture.biases
        self.architecture = architecture
        self.attention = Attention(architecture, dtype=dtype, rngs=rngs)
        self.attention_norm = norm(width, architecture, dtype=dtype, rngs=rngs)
        inner = 2 * hidden if architecture.gated else hidden
        self.expand = linear(width, inner, bias="expand" in biases, dtype=dtype, rngs=rngs)
        self.contract = linear(hidden, width, bias="contract" in biases, dtype=dtype, rngs=rngs)
        self.output_norm = norm(width, architecture, dtype=dtype, rngs=rngs)
        if architecture.placement == "both":
            self.attention_after = norm(width, architecture, dtype=dtype, rngs=rngs)
            self.output_after = norm(width, architecture, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "rows length width"],
        places: Places,
        local: Bool[Array, ""] | None,
        first: Bool[Array, ""] | None,
    ) -> Float[Array, "rows length width"]:
        """
        Args:
            local: whether this layer sees a window alone.
            first: whether it is the first, where that one has no norm before its attention.
        """
        if self.architecture.placement == "post":
            x = self.attention_norm(x + self.attention(x, places, local))
            return self.output_norm(x + self._feed_forward(x))
        before = self.attention_norm(x)
        if first is not None:
            before = jnp.where(first, x, before)
        mixed = self.attention(before, places, local)
        if self.architecture.placement == "pre":
            x = x + mixed
            return x + self._feed_forward(self.output_norm(x))
        x = x + self.attention_after(mixed)
        return x + self.output_after(self._feed_forward(self.output_norm(x)))

    def _feed_forward(self, x: Float[Array, "rows length width"]) -> Float[Array, "rows length width"]:
        hidden = self.expand(x)
        activate = ACTIVATE[self.architecture.activation]
        if self.architecture.gated:
            gate, gated = jnp.split(hidden, 2, axis=-1)
            return self.contract(activate(gate) * gated)
        return self.contract(activate(hidden))


class Network(nnx.Module):
    """Token ids to hidden states. A row holds several texts; `segments` keeps them apart.

    The layers' weights are stacked, and one compiled layer is scanned over them: compile time does not grow
    with depth.
    """

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.architecture = architecture
        width = architecture.width
        narrow = architecture.token_width or width

        def table(rows: int, columns: int) -> nnx.Embed:
            return nnx.Embed(rows, columns, dtype=dtype, param_dtype=dtype, rngs=rngs)

        self.tokens = table(architecture.vocabulary, narrow)
        if architecture.positions:
            self.positions = table(architecture.positions, narrow)
        if architecture.token_types:
            self.token_types = table(architecture.token_types, narrow)
        if architecture.embedding_norm:
            self.norm = norm(narrow, architecture, dtype=dtype, rngs=rngs)
        if architecture.token_width:
            self.project = linear(narrow, width, bias=True, dtype=dtype, rngs=rngs)
        if architecture.relative_buckets:
            self.relative = table(architecture.relative_buckets, architecture.heads)
        if architecture.final_norm:
            self.final_norm = norm(width, architecture, dtype=dtype, rngs=rngs)

        @nnx.split_rngs(splits=architecture.layers)
        @nnx.vmap
        def stack(rngs: nnx.Rngs) -> Layer:
            return Layer(architecture, dtype=dtype, rngs=rngs)

        self.layers = stack(rngs)

    def __call__(
        self,
        ids: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        *,
        unroll: bool = False,
    ) -> Float[Array, "rows length width"]:
        """Hidden states of the last layer.

        Args:
            ids: token ids.
            positions: each token's place in its own text, from 0.
            segments: which text of the row a token belongs to; 0 is padding.
            unroll: compile every layer instead of one. The derivative is then a fifth faster, for a scan
                stacks what each layer leaves for it.
        """
        a = self.architecture
        x = self.tokens(ids)
        if a.embedding_scale != 1.0:
            x = x * jnp.asarray(a.embedding_scale, x.dtype)
        if a.positions:
            x = x + self.positions(positions + a.position_offset)
        if a.token_types:
            x = x + self.token_types(jnp.zeros((1, 1), jnp.int32))
        if a.embedding_norm:
            x = self.norm(x)
        if a.token_width:
            x = self.project(x)
        places = Places(a, positions, segments, self._relative_bias(ids.shape[1]))
        local = jnp.asarray(a.local) if a.local else None
        first = None if a.first_norm else jnp.arange(a.layers) == 0
        graph, stacked = nnx.split(self.layers)
        x = jax.lax.scan(
            lambda x, layer: (nnx.merge(graph, layer[0])(x, places, layer[1], layer[2]), None),
            x,
            (stacked, local, first),
            unroll=unroll,
        )[0]
        return self.final_norm(x) if a.final_norm else x

    def _relative_bias(self, length: int) -> Float[Array, "heads length length"] | None:
        if not self.architecture.relative_buckets:
            return None
        bucket = relative_buckets(length, self.architecture.relative_buckets)
        return self.relative(bucket).astype(jnp.float32).transpose(2, 0, 1)
