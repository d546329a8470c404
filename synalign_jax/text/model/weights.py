"""From a model's safetensors to the weights of a `Network`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from synalign_jax.text.errors import ModelError

from .architecture import Alternatives
from .files import ModelFiles, read_tensors
from .network import Network

_SUFFIX = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def load_network(files: ModelFiles, *, dtype: Any) -> Network:
    """The encoder with its weights, in `dtype`; nothing is initialised at random on the way.

    Raises:
        ModelError: a weight that is missing or has another shape than config.json says.
    """
    tensors = _Tensors(files)
    model = nnx.eval_shape(lambda: Network(files.architecture, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = ".".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path[:-1])
        value = tensors.leaf(name)
        if value.shape != leaf.shape:
            raise ModelError(
                f"{files.weights[0].name}: {name} has shape {value.shape}, config.json says {leaf.shape};"
                " the weights and config.json are of different models"
            )
        return jnp.asarray(value, leaf.dtype)

    return nnx.merge(graph, jax.tree_util.tree_map_with_path(fill, state))


class _Tensors:
    """The tensors of one model by the names of `Network`'s leaves."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files
        self.tensors = read_tensors(files)

    def leaf(self, name: str) -> np.ndarray:
        """The leaf of this name ("layers.attention.qkv.kernel"), the layers' stacked."""
        part, _, kind = name.rpartition(".")
        names, architecture = self.files.names, self.files.architecture
        if not part.startswith("layers."):
            return self._joined("", names.outside[part], kind)
        part = part.removeprefix("layers.")
        found = []
        for i in range(architecture.layers):
            if i == 0 and part == "attention_norm" and not architecture.first_norm:
                found.append(np.ones(architecture.width, np.float32))  # stands there unused
                continue
            prefixes = [layer.format(i=i) for layer in names.layer]
            prefix = next(
                (p for p in prefixes if any(key.startswith(p) for key in self.tensors)), prefixes[0]
            )
            found.append(self._joined(prefix, names.inside[part], kind))
        return np.stack(found)

    def _joined(self, prefix: str, alternatives: Alternatives, kind: str) -> np.ndarray:
        """The tensors of the alternative that the files have, joined along the outputs."""

        def there(theirs: tuple[str, ...]) -> bool:
            return f"{prefix}{theirs[0].partition(':')[0]}.{_SUFFIX[kind]}" in self.tensors

        theirs = next(filter(there, alternatives), alternatives[0])
        value = np.concatenate([self._get(prefix, name, kind) for name in theirs], axis=-1)
        offset = self.files.names.norm_offset
        return value.astype(np.float32) + np.float32(offset) if offset and kind == "scale" else value

    def _get(self, prefix: str, name: str, kind: str) -> np.ndarray:
        name, _, half = name.partition(":")
        whole = f"{prefix}{name}.{_SUFFIX[kind]}"
        if whole not in self.tensors:
            raise ModelError(
                f"{self.files.weights[0].name}: no tensor {whole!r}; the weights and config.json"
                " are of different models, or the file is not complete"
            )
        # A linear map's weight is (out, in) there and (in, out) here.
        value = self.tensors[whole].T if kind == "kernel" else self.tensors[whole]
        return np.split(value, 2, axis=-1)[int(half)] if half else value
