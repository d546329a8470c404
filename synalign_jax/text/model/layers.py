"""The parts of a network: linear maps, norms and activations as XLA's CPU backend likes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from .architecture import Architecture


def _gelu(x: Array) -> Array:
    # jax.nn.gelu goes through erfc, which costs XLA's CPU backend twice the time of erf.
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": jax.nn.gelu,
    "gelu_fast": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
}


def precision(dtype: jnp.dtype) -> jax.lax.Precision | None:
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


@jax.custom_vjp
def product(x: Float[Array, "*rows inputs"], w: Float[Array, "inputs outputs"]) -> Array:
    """The matrix product, with a derivative of its own."""
    return jnp.matmul(x, w, precision=precision(x.dtype))


def _product_backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    # JAX's own derivative of w is a product that leaves w' transposed: on CPU that copies `slope` and w'.
    x, w = kept
    rows = slope.reshape(-1, slope.shape[-1])
    exactly = precision(x.dtype)
    of_x = jax.lax.dot_general(rows, w, (((1,), (1,)), ((), ())), precision=exactly)
    of_w = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), rows, (((0,), (0,)), ((), ())), precision=exactly)
    return of_x.reshape(x.shape), of_w


product.defvjp(lambda x, w: (product(x, w), (x, w)), _product_backward)


def _dot_general(x: Array, w: Array, _dimensions: Any, **_settings: Any) -> Array:
    return product(x, w)


def linear(inputs: int, outputs: int, *, bias: bool, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=bias,
        dtype=dtype,
        param_dtype=dtype,
        dot_general=_dot_general,
        rngs=rngs,
    )


def norm(
    width: int, architecture: Architecture, *, dtype: jnp.dtype, rngs: nnx.Rngs
) -> nnx.LayerNorm | nnx.RMSNorm:
    """The architecture's kind of norm over `width` columns."""
    settings: dict[str, Any] = {
        "epsilon": architecture.epsilon,
        "dtype": dtype,
        "param_dtype": dtype,
        "use_fast_variance": False,
        "rngs": rngs,
    }
    if architecture.norm == "rms":
        return nnx.RMSNorm(width, **settings)
    return nnx.LayerNorm(width, use_bias="norm" in architecture.biases, **settings)
