"""The BERT-family encoder on packed rows, in Flax nnx."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from .architecture import Architecture

_MASKED = -1e30  # finite, so that a row of padding alone gives a uniform softmax and not NaN

# Queries of a long row that are scored together: the scores of all of them would leave a CPU's cache, which
# made attention over 512 tokens three times slower.
_QUERIES = 128


def _gelu(x: Array) -> Array:
    # jax.nn.gelu goes through erfc, which costs XLA's CPU backend twice the time of erf.
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def _precision(dtype: jnp.dtype) -> jax.lax.Precision | None:
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


@jax.custom_vjp
def _product(x: Float[Array, "*rows inputs"], w: Float[Array, "inputs outputs"]) -> Array:
    return jnp.matmul(x, w, precision=_precision(x.dtype))


def _product_backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    # JAX's own derivative of w is a product that leaves w' transposed: on CPU that copies `slope` and w'.
    x, w = kept
    rows = slope.reshape(-1, slope.shape[-1])
    precision = _precision(x.dtype)
    of_x = jax.lax.dot_general(rows, w, (((1,), (1,)), ((), ())), precision=precision)
    of_w = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), rows, (((0,), (0,)), ((), ())), precision=precision
    )
    return of_x.reshape(x.shape), of_w


_product.defvjp(lambda x, w: (_product(x, w), (x, w)), _product_backward)


def _dot_general(x: Array, w: Array, _dimensions: Any, **_settings: Any) -> Array:
    return _product(x, w)


def _linear(inputs: int, outputs: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, dtype=dtype, param_dtype=dtype, dot_general=_dot_general, rngs=rngs)


def _norm(width: int, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        width, epsilon=epsilon, dtype=dtype, param_dtype=dtype, use_fast_variance=False, rngs=rngs
    )


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2), the three input maps in one product."""

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width = architecture.width
        self.heads = architecture.heads
        self.qkv = _linear(width, 3 * width, dtype, rngs)
        self.out = _linear(width, width, dtype, rngs)

    def __call__(
        self, x: Float[Array, "rows length width"], bias: Float[Array, "rows _ length length"]
    ) -> Float[Array, "rows length width"]:
        rows, length, width = x.shape
        depth = width // self.heads
        # Heads lead, so that both products below are plain batched matrix products.
        qkv = self.qkv(x).reshape(rows, length, 3, self.heads, depth).transpose(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        query = query * (1.0 / math.sqrt(depth))
        chunks = length // _QUERIES
        if length <= 2 * _QUERIES or length % _QUERIES:
            mixed = self._mix(query, key, value, bias)
        else:
            query = query.reshape(rows, self.heads, chunks, _QUERIES, depth).transpose(2, 0, 1, 3, 4)
            parts = bias.reshape(*bias.shape[:2], chunks, _QUERIES, length).transpose(2, 0, 1, 3, 4)
            mixed = jax.lax.map(lambda part: self._mix(part[0], key, value, part[1]), (query, parts))
            mixed = mixed.transpose(1, 2, 0, 3, 4).reshape(rows, self.heads, length, depth)
        return self.out(mixed.transpose(0, 2, 1, 3).reshape(rows, length, width))

    def _mix(self, query: Array, key: Array, value: Array, bias: Array) -> Array:
        """Softmax attention of (rows, heads, queries, depth) to every token of the row."""
        scores = jnp.matmul(query, key.swapaxes(-1, -2), precision=_precision(query.dtype))
        scores = scores.astype(jnp.float32) + bias
        weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        total = weights.sum(axis=-1, keepdims=True)
        # Normalised after the product: depth divisions a token instead of length.
        mixed = jnp.matmul(weights.astype(query.dtype), value, precision=_precision(query.dtype))
        return (mixed / total).astype(query.dtype)


class Layer(nnx.Module):
    """One post-norm transformer layer (Devlin et al. 2019)."""

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width, epsilon = architecture.width, architecture.epsilon
        self.activation = architecture.activation
        self.attention = Attention(architecture, dtype=dtype, rngs=rngs)
        self.attention_norm = _norm(width, epsilon, dtype, rngs)
        self.expand = _linear(width, architecture.hidden, dtype, rngs)
        self.contract = _linear(architecture.hidden, width, dtype, rngs)
        self.output_norm = _norm(width, epsilon, dtype, rngs)

    def __call__(
        self, x: Float[Array, "rows length width"], bias: Float[Array, "rows _ length length"]
    ) -> Float[Array, "rows length width"]:
        x = self.attention_norm(x + self.attention(x, bias))
        return self.output_norm(x + self.contract(_ACTIVATIONS[self.activation](self.expand(x))))


class Bert(nnx.Module):
    """Token ids to hidden states. A row holds several texts; `segments` keeps them apart.

    The layers' weights are stacked, and one compiled layer is scanned over them: compile time does not grow
    with depth.
    """

    def __init__(self, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.architecture = architecture
        width = architecture.width

        def table(rows: int, columns: int) -> nnx.Embed:
            return nnx.Embed(rows, columns, dtype=dtype, param_dtype=dtype, rngs=rngs)

        self.tokens = table(architecture.vocabulary, width)
        self.positions = table(architecture.positions, width)
        self.token_types = table(architecture.token_types, width) if architecture.token_types else None
        self.norm = _norm(width, architecture.epsilon, dtype, rngs)
        self.relative = (
            table(architecture.relative_buckets, architecture.heads)
            if architecture.relative_buckets
            else None
        )

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
        x = self.tokens(ids) + self.positions(positions + self.architecture.position_offset)
        if self.token_types is not None:
            x = x + self.token_types(jnp.zeros((1, 1), jnp.int32))
        x = self.norm(x)
        apart = segments[:, None, :, None] != segments[:, None, None, :]
        bias = jnp.where(apart, _MASKED, 0.0)
        if self.relative is not None:
            bias = bias + self._relative_bias(ids.shape[1])
        graph, stacked = nnx.split(self.layers)
        return jax.lax.scan(
            lambda x, layer: (nnx.merge(graph, layer)(x, bias), None), x, stacked, unroll=unroll
        )[0]

    def _relative_bias(self, length: int) -> Float[Array, "heads length length"]:
        """T5's bucketed bias (Raffel et al. 2020, section 2.1), bidirectional, largest distance 128.

        Texts are contiguous in a row, so columns differ as positions do.
        """
        assert self.relative is not None
        offset = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
        half = self.architecture.relative_buckets // 2
        exact = half // 2
        distance = jnp.abs(offset)
        ratio = jnp.log(jnp.maximum(distance, 1) / exact) / math.log(128 / exact)
        far = jnp.minimum(exact + (ratio * (half - exact)).astype(jnp.int32), half - 1)
        bucket = jnp.where(distance < exact, distance, far) + jnp.where(offset < 0, half, 0)
        return self.relative(bucket).astype(jnp.float32).transpose(2, 0, 1)
