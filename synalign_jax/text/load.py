"""Any encoder that this package reads itself, by what its files are."""

from __future__ import annotations

from pathlib import Path

from .encoder import Encoder
from .errors import ModelError
from .model.find import find_model
from .static import StaticEncoder, is_static


def load_encoder(
    name: str | Path,
    *,
    kind: str = "flax",
    dtype: str = "float32",
    max_tokens: int | None = None,
    prompt: str | None = None,
    truncate_dim: int | None = None,
) -> Encoder | StaticEncoder:
    """The encoder of a folder, a hub name or an embedded name.

    Args:
        kind: "flax", which takes static embeddings for what they are too, or "static", which insists on them.
        dtype: of a network; a table is float32.
        max_tokens, prompt, truncate_dim: as of `Encoder.from_pretrained`.

    Raises:
        ModelError: what the encoders raise.
    """
    if kind == "static" or is_static(find_model(name)):
        if dtype != "float32":
            raise ModelError(f"dtype: {dtype}; the table of static embeddings is summed in float32")
        return StaticEncoder.from_pretrained(
            name, max_tokens=max_tokens, prompt=prompt, truncate_dim=truncate_dim
        )
    return Encoder.from_pretrained(
        name, dtype=dtype, max_tokens=max_tokens, prompt=prompt, truncate_dim=truncate_dim
    )
