"""Embeddings of the study's rows, computed once and kept beside the texts that they belong to."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from .data import Rows, rows

ENCODER = "all-MiniLM-L6-v2"


@cache
def load(name: str, data: Path | None, cache: Path) -> tuple[Rows, np.ndarray]:
    """The rows of a name and their (rows, 384) embeddings."""
    known, vectors = cache / f"{name}.json", cache / f"{name}.npy"
    found = rows(name, data)
    if vectors.exists():
        kept = json.loads(known.read_text(encoding="utf-8"))
        if kept["texts"] == found.texts:
            return found, np.load(vectors)
    from synalign_jax.text.encoder import Encoder

    cache.mkdir(parents=True, exist_ok=True)
    computed = Encoder.from_pretrained(ENCODER, max_tokens=found.max_tokens).embed(found.texts)
    known.write_text(json.dumps({"texts": found.texts, "labels": found.labels}), encoding="utf-8")
    part = cache / f"{name}.part.npy"
    np.save(part, np.asarray(computed))
    part.replace(vectors)
    return found, np.asarray(computed)
