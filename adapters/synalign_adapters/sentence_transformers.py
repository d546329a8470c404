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
        max_tokens: cut texts at fewer tokens than the model does.
        truncate_dim: keep only so many leading columns.

    Attributes:
        prompts: the model's prompts, name -> words.
        prompt: the words before every text; None for the model's default prompt.

    Raises:
        ImportError: sentence-transformers is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str | None = None,
        batch_size: int = 32,
        max_tokens: int | None = None,
        truncate_dim: int | None = None,
    ) -> None:
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
            str(name), device=device, model_kwargs={"use_safetensors": True}, truncate_dim=truncate_dim
        )
        if max_tokens is not None:
            self._model.max_seq_length = max_tokens
        self.prompts: dict[str, str] = {key: words or "" for key, words in self._model.prompts.items()}
        self.prompt: str | None = None
        self._name, self._truncate_dim = name, self._model.truncate_dim
        self._batch_size = batch_size
        self.dimension: int = self._model.encode(["a"], show_progress_bar=False).shape[1]
        self._weights = self._hash()

    @property
    def identity(self) -> str:
        return (
            f"sentence-transformers {self._name}@{self._weights} {self._model.max_seq_length} tokens"
            + (f" first {self._truncate_dim} columns" if self._truncate_dim else "")
            + f" prompt {self._model.default_prompt_name if self.prompt is None else repr(self.prompt)}"
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given."""
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        vectors = self._model.encode(
            list(texts),
            prompt=self.prompt,
            batch_size=self._batch_size,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]
