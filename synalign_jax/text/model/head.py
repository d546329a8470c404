"""What comes behind the pooling in modules.json: linear maps, norms, and unit length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from synalign_jax.text.errors import ModelError

from .layers import ACTIVATE
from .tensors import find_weights, read_file

# torch's names of activations, by the last part.
_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "Identity": lambda x: x,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "GELU": ACTIVATE["gelu"],
    "SiLU": jax.nn.silu,
    "Sigmoid": jax.nn.sigmoid,
    "LeakyReLU": jax.nn.leaky_relu,
    "Mish": jax.nn.mish,
}
_EPSILON = 1e-5  # torch's default of a LayerNorm


@dataclass(frozen=True)
class Step:
    """One module behind the pooling.

    Attributes:
        kind: "dense", "layer_norm" or "normalize".
        width: columns of what comes out; 0 for as many as went in.
        activation: torch's name, without its modules.
        residual: what went in is added to what comes out.
    """

    kind: str
    width: int = 0
    activation: str = "Identity"
    residual: bool = False
    folder: Path | None = None

    def __str__(self) -> str:
        """As it stands in an embedder's identity; the weights are hashed there besides."""
        if self.kind == "normalize":
            return "normalized"
        return f"{self.kind} {self.width} {self.activation}" if self.width else self.kind


def read_step(kind: str, folder: Path, settings: Mapping[str, Any]) -> Step:
    """The step that a module's folder describes.

    Args:
        kind: "Dense", "LayerNorm" or "Normalize".

    Raises:
        ModelError: a setting that is not supported.
    """
    if kind == "Normalize":
        return Step("normalize")
    find_weights(folder)
    where = f"{folder.name}/config.json"
    if kind == "LayerNorm":
        return Step("layer_norm", folder=folder)
    for name in ("module_input_name", "module_output_name"):
        if (settings.get(name) or "sentence_embedding") != "sentence_embedding":
            raise ModelError(f"{where}: {name} = {settings[name]!r} is not supported, sentence_embedding is")
    activation = str(settings.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ModelError(
            f"{where}: activation_function {activation!r} is not supported; supported are {known}"
        )
    if "out_features" not in settings:
        raise ModelError(f"{where}: 'out_features' is missing")
    return Step("dense", settings["out_features"], activation, bool(settings.get("use_residual")), folder)


def load_steps(steps: Sequence[Step], width: int) -> list[dict[str, Array]]:
    """The float32 weights of each step.

    Args:
        width: columns that go into the first.

    Raises:
        ModelError: a file or a tensor that is missing, or of another shape than the module before it gives.
    """
    loaded = []
    for step in steps:
        tensors: dict[str, Array] = {}
        if step.folder is not None:
            path = step.folder / "model.safetensors"
            given = read_file(path)
            names = ("linear.weight", "norm.weight")
            main = next((given[name] for name in names if name in given), None)
            if main is None:
                raise ModelError(f"{path}: no tensor {names[step.kind != 'dense']!r}; download it again")
            if main.shape[-1] != width or (step.kind == "dense" and main.shape[0] != step.width):
                raise ModelError(
                    f"{path}: {main.shape} weights for {width} columns in and {step.width or width} out;"
                    " the module and those before it are of different models"
                )
            tensors = {name: jnp.asarray(value, jnp.float32) for name, value in given.items()}
        loaded.append(tensors)
        width = step.width or width
    return loaded


def apply_steps(
    x: Float[Array, "*rows width"], steps: Sequence[Step], weights: Sequence[Mapping[str, Array]]
) -> Float[Array, "*rows dimension"]:
    """Every step in turn, in float32."""

    def times(x: Array, w: Array) -> Array:
        return jnp.matmul(x, w.T, precision=jax.lax.Precision.HIGHEST)

    for step, w in zip(steps, weights, strict=True):
        if step.kind == "normalize":
            x = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
        elif step.kind == "layer_norm":
            centred = x - x.mean(axis=-1, keepdims=True)
            spread = jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + _EPSILON)
            x = centred / spread * w["norm.weight"] + w.get("norm.bias", 0.0)
        else:
            out = _ACTIVATIONS[step.activation](times(x, w["linear.weight"]) + w.get("linear.bias", 0.0))
            if step.residual:
                out = out + (times(x, w["residual.weight"]) if "residual.weight" in w else x)
            x = out
    return x
