"""From a model's safetensors to the weights of `Bert`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from synalign_jax.text.errors import ModelError

from .bert import Bert
from .files import ModelFiles, read_tensors


def load_bert(files: ModelFiles, *, dtype: Any) -> Bert:
    """The encoder with its weights, in `dtype`; nothing is initialised at random on the way.

    Raises:
        ModelError: a weight that is missing or has another shape than config.json says.
    """
    tensors = _Tensors(files)
    model = nnx.eval_shape(lambda: Bert(files.architecture, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    leaves = tensors.leaves()

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = ".".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path[:-1])
        value = leaves[name]
        if value.shape != leaf.shape:
            raise ModelError(
                f"{files.weights[0].name}: {name} has shape {value.shape}, config.json says {leaf.shape};"
                " the weights and config.json are of different models"
            )
        return jnp.asarray(value, leaf.dtype)

    return nnx.merge(graph, jax.tree_util.tree_map_with_path(fill, state))


class _Tensors:
    """The tensors of one model by the names of `Bert`'s leaves."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files
        self.tensors = read_tensors(files)

    def _get(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise ModelError(
                f"{self.files.weights[0].name}: no tensor {name!r}; the weights and config.json"
                " are of different models, or the file is not complete"
            )
        return self.tensors[name]

    def _stacked(self, *names: str, suffix: str) -> np.ndarray:
        """The tensor of every layer, stacked; several names are joined along the outputs."""

        def one(i: int) -> np.ndarray:
            layer = self.files.names.layer.format(i=i)
            # A linear map's weight is (out, in) there and (in, out) here.
            parts = [self._get(f"{layer}{name}.{suffix}").T for name in names]
            return np.concatenate(parts, axis=-1)

        return np.stack([one(i) for i in range(self.files.architecture.layers)])

    def leaves(self) -> dict[str, np.ndarray]:
        names, architecture = self.files.names, self.files.architecture
        found = {
            "tokens.embedding": self._get("embeddings.word_embeddings.weight"),
            "positions.embedding": self._get("embeddings.position_embeddings.weight"),
            "norm.scale": self._get("embeddings.LayerNorm.weight"),
            "norm.bias": self._get("embeddings.LayerNorm.bias"),
        }
        if architecture.token_types:
            found["token_types.embedding"] = self._get("embeddings.token_type_embeddings.weight")
        if architecture.relative_buckets:
            found["relative.embedding"] = self._get("encoder.relative_attention_bias.weight")
        linear = {
            "attention.qkv": (names.query, names.key, names.value),
            "attention.out": (names.attention_out,),
            "expand": (names.expand,),
            "contract": (names.contract,),
        }
        for ours, theirs in linear.items():
            found[f"layers.{ours}.kernel"] = self._stacked(*theirs, suffix="weight")
            found[f"layers.{ours}.bias"] = self._stacked(*theirs, suffix="bias")
        for ours, theirs in {
            "attention_norm": names.attention_norm,
            "output_norm": names.output_norm,
        }.items():
            found[f"layers.{ours}.scale"] = self._stacked(theirs, suffix="weight")
            found[f"layers.{ours}.bias"] = self._stacked(theirs, suffix="bias")
        return found
