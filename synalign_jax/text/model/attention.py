"""Self-attention over packed rows (Vaswani et al. 2017), and where the tokens of a batch stand."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from .architecture import Architecture
from .layers import linear, norm, precision
from .rotary import turn, turns

_MASKED = -1e30  # finite, so that a row of padding alone gives a uniform softmax and not NaN

# Queries of a long row that are scored together: the scores of all of them would leave a CPU's cache, which
# made attention over 512 tokens three times slower.
_QUERIES = 128


class Places:
    """Where the tokens of a batch stand: the same for all layers, but for the window of local ones.

    Args:
        positions: each token's place in its own text, from 0.
        segments: which text of the row a token belongs to; 0 is padding.
        relative: (heads, length, length), added to the scores.
    """

    def __init__(
        self,
        architecture: Architecture,
        positions: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        relative: Float[Array, "heads length length"] | None,
    ) -> None:
        self._architecture = architecture
        self._positions, self._segments = positions, segments
        self._relative = None if relative is None else relative[:, None]
        length = positions.shape[1]
        self.chunks = 1 if length <= 2 * _QUERIES or length % _QUERIES else length // _QUERIES
        self._turns = [
            turns(positions, frequencies)
            for frequencies in (architecture.frequencies, architecture.local_frequencies)
            if frequencies
        ]
        # Short rows are masked once for all layers; the mask of a long row is made again with every chunk.
        self._whole = []
        if self.chunks == 1:
            self._whole = [self._bias(positions, segments, window) for window in self._windows()]

    def _windows(self) -> list[int | None]:
        return [None, self._architecture.window] if self._architecture.local else [None]

    def _bias(self, positions: Array, segments: Array, window: int | Array | None) -> Array:
        """(1, rows, queries, length) for queries at these places; 0 where they see, else far below 0."""
        seen = segments[:, :, None] == self._segments[:, None, :]
        ahead = positions[:, :, None] - self._positions[:, None, :]
        if self._architecture.causal:
            seen &= ahead >= 0
        if window is not None:
            seen &= jnp.abs(ahead) <= window
        return jnp.where(seen, 0.0, _MASKED)[None]

    def turns(self, local: Bool[Array, ""] | None) -> tuple[Array, Array] | None:
        """Cosines and sines for a layer's queries and keys."""
        if len(self._turns) < 2 or local is None:
            return self._turns[0] if self._turns else None
        full, near = self._turns
        return jnp.where(local, near[0], full[0]), jnp.where(local, near[1], full[1])

    def whole_bias(self, local: Bool[Array, ""] | None) -> Array:
        """(heads or 1, rows or 1, length, length) of a short row."""
        bias = self._whole[0] if local is None else jnp.where(local, self._whole[1], self._whole[0])
        return bias if self._relative is None else bias + self._relative

    def chunk_parts(self) -> tuple[Array, Array, Array]:
        """The places and the relative bias of each chunk of queries, chunks first."""
        rows = self._positions.shape[0]
        positions, segments = (
            values.reshape(rows, self.chunks, _QUERIES).swapaxes(0, 1)
            for values in (self._positions, self._segments)
        )
        if self._relative is None:
            return positions, segments, jnp.zeros((self.chunks, 1, 1, 1, 1))
        heads, _, _, length = self._relative.shape
        parts = self._relative.reshape(heads, 1, self.chunks, _QUERIES, length).transpose(2, 0, 1, 3, 4)
        return positions, segments, parts

    def chunk_bias(self, local: Bool[Array, ""] | None, part: tuple[Array, Array, Array]) -> Array:
        positions, segments, relative = part
        window = (
            None if local is None else jnp.where(local, self._architecture.window, jnp.iinfo("int32").max)
        )
        return self._bias(positions, segments, window) + relative


class Attention(nnx.Module):
    """Multi-head self-attention, the three input maps in one product."""

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width, depth = architecture.width, architecture.depth
        self.architecture = architecture
        heads = architecture.heads + 2 * architecture.keys
        self.qkv = linear(width, heads * depth, bias="qkv" in architecture.biases, dtype=dtype, rngs=rngs)
        self.out = linear(
            architecture.heads * depth, width, bias="out" in architecture.biases, dtype=dtype, rngs=rngs
        )
        if architecture.query_key_norm:
            self.query_norm = norm(depth, architecture, dtype=dtype, rngs=rngs)
            self.key_norm = norm(depth, architecture, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "rows length width"], places: Places, local: Bool[Array, ""] | None
    ) -> Float[Array, "rows length width"]:
        """
        Args:
            local: whether the layer sees its window alone; None where no layer does.
        """
        a = self.architecture
        rows, length, _ = x.shape
        # Heads lead, so that both products below are plain batched matrix products.
        parts = self.qkv(x).reshape(rows, length, a.heads + 2 * a.keys, a.depth).transpose(2, 0, 1, 3)
        query, key, value = parts[: a.heads], parts[a.heads : a.heads + a.keys], parts[a.heads + a.keys :]
        if a.query_key_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        if (by := places.turns(local)) is not None:
            query, key = turn(query, by), turn(key, by)
        query = query * a.scale
        if a.keys != a.heads:
            key, value = (jnp.repeat(shared, a.heads // a.keys, axis=0) for shared in (key, value))
        if places.chunks == 1:
            mixed = _mix(query, key, value, places.whole_bias(local))
        else:
            chunked = query.reshape(a.heads, rows, places.chunks, _QUERIES, a.depth).transpose(2, 0, 1, 3, 4)
            mixed = jax.lax.map(
                lambda part: _mix(part[0], key, value, places.chunk_bias(local, part[1])),
                (chunked, places.chunk_parts()),
            )
            mixed = mixed.transpose(1, 2, 0, 3, 4).reshape(a.heads, rows, length, a.depth)
        return self.out(mixed.transpose(1, 2, 0, 3).reshape(rows, length, a.heads * a.depth))


def _mix(query: Array, key: Array, value: Array, bias: Array) -> Array:
    """Softmax attention of (heads, rows, queries, depth) to every token of the row."""
    scores = jnp.matmul(query, key.swapaxes(-1, -2), precision=precision(query.dtype))
    scores = scores.astype(jnp.float32) + bias
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    # Normalised after the product: depth divisions a token instead of length.
    mixed = jnp.matmul(weights.astype(query.dtype), value, precision=precision(query.dtype))
    return (mixed / total).astype(query.dtype)


def relative_buckets(length: int, buckets: int) -> Int[Array, "length length"]:
    """T5's buckets of distances (Raffel et al. 2020, section 2.1), both ways, largest distance 128.

    Texts are contiguous in a row, so columns differ as positions do.
    """
    offset = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
    half = buckets // 2
    exact = half // 2
    distance = jnp.abs(offset)
    ratio = jnp.log(jnp.maximum(distance, 1) / exact) / math.log(128 / exact)
    far = jnp.minimum(exact + (ratio * (half - exact)).astype(jnp.int32), half - 1)
    return jnp.where(distance < exact, distance, far) + jnp.where(offset < 0, half, 0)
