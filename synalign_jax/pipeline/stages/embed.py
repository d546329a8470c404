"""Stage embed, run twice: texts in, one vector a row out; once for the real rows, once for the new ones."""

from __future__ import annotations

import numpy as np

from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text import EmbeddingCache, embed_texts


def real(view: StageView, config: Config, tools: Tools) -> None:
    """Read `few_shot`, write `real_vectors`."""
    _embed(view, tools, "few_shot", "real_vectors", "embed: real rows")


def synthetic(view: StageView, config: Config, tools: Tools) -> None:
    """Read `synthetic`, write `synthetic_vectors`."""
    _embed(view, tools, "synthetic", "synthetic_vectors", "embed: new rows")


def _embed(view: StageView, tools: Tools, source: str, target: str, title: str) -> None:
    texts = [row["text"] for row in view.read_rows(source)]
    vectors = vectors_of(view, tools, texts, title)
    view.write_array(target, vectors)
    view.facts.update(rows=len(texts), width=int(vectors.shape[1]))


def vectors_of(view: StageView, tools: Tools, texts: list[str], title: str) -> np.ndarray:
    """(len(texts), width) vectors. What was embedded before, in any run, is not embedded again."""
    embedder = tools.open_embedder()
    with tools.reporter.bar(title, len(texts), "texts") as bar, EmbeddingCache(tools.cache_folder) as cache:
        embedded = embed_texts(embedder, texts, cache=cache, on_progress=bar.advance)
    if embedded.truncated:
        view.warn(
            f"{title}: {embedded.truncated} of {len(texts)} texts are longer than the encoder reads;"
            " their ends do not count ([encoder] max_tokens)"
        )
    return np.asarray(embedded.vectors, np.float32)
