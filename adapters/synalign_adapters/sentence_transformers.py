"""Embeddings from sentence-transformers, for models that the Flax encoder does not read. Needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class SentenceTransformersEmbedder:
    """A sentence-transformers model as a `synalign_jax.text` Embedder.

    Args:
        name: a folder or a Hugging Face hub name. Only safetensors weights are read.
        device: torch's name of a device; None lets sentence-transformers choose.
        batch_size: texts a step.

    Raises:
        ImportError: sentence-transformers is not installed.
    """

    def __init__(self, name: str, *, device: str | None = None, batch_size: int = 32) -> None:
        try:
            from sentence_transformers import (  # pyright: ignore[reportMissingImports]
                SentenceTransformer,
            )
        except ImportError as error:
            raise ImportError(
                "sentence-transformers is not installed; install torch for this machine, then"
                " `pip install sentence-transformers`"
            ) from error
        self._model: Any = SentenceTransformer(
            str(name), device=device, model_kwargs={"use_safetensors": True}
        )
        self._batch_size = batch_size
        self.dimension: int = self._model.encode(["a"], show_progress_bar=False).shape[1]
        self.identity = (
            f"sentence-transformers {name}@{self._hash()} {self._model.max_seq_length} tokens"
            f" prompt {self._model.default_prompt_name}"
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given."""
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        vectors = self._model.encode(
            list(texts), batch_size=self._batch_size, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]
