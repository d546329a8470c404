"""Stage embed, run twice: texts in, one vector a row out; once for the real rows, once for the new ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text import EmbeddingCache, embed_texts

_NEGLIGIBLE = 1e-6  # of the spread, squared
_BLOCK = 16_384


def real(view: StageView, config: Config, tools: Tools) -> None:
    """Read `few_shot`, write `real_vectors`."""
    _embed(view, config, tools, ("few_shot", "real_vectors"), "embed: real rows")


def synthetic(view: StageView, config: Config, tools: Tools) -> None:
    """Read `synthetic`, write `synthetic_vectors`."""
    _embed(view, config, tools, ("synthetic", "synthetic_vectors"), "embed: new rows")


def _embed(view: StageView, config: Config, tools: Tools, names: tuple[str, str], title: str) -> None:
    source, target = names
    texts = view.read_column(source, "text")
    with view.writing(target, ".npy") as path:
        try:
            vectors = vectors_of(view, tools, texts, title, out=path)
        finally:
            path.with_name(f"{path.name}.progress").unlink(missing_ok=True)
        if config.encoder.vectors == "float16":
            half, note = halved(vectors)
            if note:
                view.warn(f"{title}: {note}")
            else:
                path.unlink()  # what is mapped of it stays
                with path.open("wb") as file:
                    np.save(file, half, allow_pickle=False)
    view.facts.update(rows=len(texts), width=int(vectors.shape[1]))


def halved(vectors: np.ndarray) -> tuple[np.ndarray, str | None]:
    """The vectors in float16, or as they are where that would show, and why.

    Rounding acts as noise of the size of what it takes away. Where its square is a millionth of the rows'
    spread about their mean, an MMD² moves by about as little, far less than a thousandth of any noise band
    that a few thousand real rows have.
    """
    half, mean = np.empty(vectors.shape, np.float16), vectors.mean(axis=0, dtype=np.float64)
    lost = spread = 0.0
    for start in range(0, len(vectors), _BLOCK):
        rows = np.asarray(vectors[start : start + _BLOCK])
        with np.errstate(over="ignore"):
            half[start : start + _BLOCK] = rows
        own = half[start : start + _BLOCK]
        if not np.isfinite(own).all():
            return vectors, "kept in float32, for they hold numbers that float16 does not ([encoder] vectors)"
        lost += float(np.square(rows - own.astype(np.float32), dtype=np.float64).sum())
        spread += float(np.square(rows - mean).sum())
    if lost > _NEGLIGIBLE * spread:
        return vectors, (
            f"kept in float32, for float16 would lose {lost / max(spread, 1e-300):.1g} of their spread"
            " ([encoder] vectors)"
        )
    return half, None


def vectors_of(
    view: StageView,
    tools: Tools,
    texts: list[str],
    title: str,
    *,
    out: Path | None = None,
    cache: EmbeddingCache | None = None,
) -> np.ndarray:
    """(len(texts), width) vectors. What was embedded before, in any run, is not embedded again.

    Args:
        out: a .npy file to write them to, instead of holding them.
        cache: one that is open already.
    """
    embedder = tools.open_embedder()
    opened = EmbeddingCache(tools.cache_folder) if cache is None else contextlib.nullcontext(cache)
    with tools.reporter.bar(title, len(texts), "texts") as bar, opened as known:
        embedded = embed_texts(embedder, texts, cache=known, out=out, on_progress=bar.advance)
    if embedded.truncated:
        view.warn(
            f"{title}: {embedded.truncated} of {len(texts)} texts are longer than the encoder reads;"
            " their ends do not count ([encoder] max_tokens)"
        )
    return np.asarray(embedded.vectors, np.float32)
