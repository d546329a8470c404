"""Stage embed, run twice: texts in, one vector a row out; once for the real rows, once for the new ones."""

from __future__ import annotations

import numpy as np

from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text import EmbeddingCache, embed_texts

_NEGLIGIBLE = 1e-6  # of the spread, squared


def real(view: StageView, config: Config, tools: Tools) -> None:
    """Read `few_shot`, write `real_vectors`."""
    _embed(view, config, tools, ("few_shot", "real_vectors"), "embed: real rows")


def synthetic(view: StageView, config: Config, tools: Tools) -> None:
    """Read `synthetic`, write `synthetic_vectors`."""
    _embed(view, config, tools, ("synthetic", "synthetic_vectors"), "embed: new rows")


def _embed(view: StageView, config: Config, tools: Tools, names: tuple[str, str], title: str) -> None:
    source, target = names
    texts = view.read_column(source, "text")
    vectors = vectors_of(view, tools, texts, title)
    if config.encoder.vectors == "float16":
        vectors, note = halved(vectors)
        if note:
            view.warn(f"{title}: {note}")
    view.write_array(target, vectors)
    view.facts.update(rows=len(texts), width=int(vectors.shape[1]))


def halved(vectors: np.ndarray) -> tuple[np.ndarray, str | None]:
    """The vectors in float16, or as they are where that would show, and why.

    Rounding acts as noise of the size of what it takes away. Where its square is a millionth of the rows'
    spread about their mean, an MMD² moves by about as little, far less than a thousandth of any noise band
    that a few thousand real rows have.
    """
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    if not np.isfinite(half).all():
        return vectors, "kept in float32, for they hold numbers that float16 does not ([encoder] vectors)"
    lost = np.square(vectors - half.astype(np.float32), dtype=np.float64).sum()
    spread = np.square(vectors - vectors.mean(axis=0), dtype=np.float64).sum()
    if lost > _NEGLIGIBLE * spread:
        return vectors, (
            f"kept in float32, for float16 would lose {lost / max(spread, 1e-300):.1g} of their spread"
            " ([encoder] vectors)"
        )
    return half, None


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
