"""Embeddings of the study's rows, computed once and kept beside the texts that they belong to."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .data import Rows, rows

ENCODER = "all-MiniLM-L6-v2"
_CHUNK = 500


def load(name: str, data: Path | None, folder: Path, stop: int | None = None) -> tuple[Rows, np.ndarray]:
    """The rows of a name up to `stop`, and their (rows, 384) embeddings: those asked for and no others."""
    found = _rows(name, data)
    stop = len(found) if stop is None else min(stop, len(found))
    parts = [_chunk(name, start, data, folder) for start in range(0, stop, _CHUNK)]
    some = Rows(name, found.texts[:stop], found.labels[:stop], found.max_tokens)
    return some, np.concatenate(parts)[:stop]


@cache
def _rows(name: str, data: Path | None) -> Rows:
    return rows(name, data)


@cache
def _chunk(name: str, start: int, data: Path | None, folder: Path) -> np.ndarray:
    found = _rows(name, data)
    texts = found.texts[start : start + _CHUNK]
    known, vectors = (folder / f"{name}.{start}.{end}" for end in ("json", "npy"))
    if vectors.exists() and json.loads(known.read_text(encoding="utf-8")) == texts:
        return np.load(vectors)
    folder.mkdir(parents=True, exist_ok=True)
    computed = np.asarray(_encoder(found.max_tokens).embed(texts))
    known.write_text(json.dumps(texts), encoding="utf-8")
    part = folder / f"{name}.{start}.part.npy"
    np.save(part, computed)
    part.replace(vectors)
    return computed


@cache
def _encoder(max_tokens: int) -> Any:
    from synalign_jax.text.encoder import Encoder

    return Encoder.from_pretrained(ENCODER, max_tokens=max_tokens)
