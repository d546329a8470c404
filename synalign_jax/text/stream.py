"""Any number of texts through any embedder: blocks, the cache, a file that can be taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from .cache import VectorCache
from .errors import check_texts
from .protocol import Embedder, Truncating
from .vectors import VectorFile

_FIRST_BLOCK, _LARGEST_BLOCK = 512, 65_536
_BLOCK_SECONDS = 5.0  # a kill loses at most about this much work


@dataclass(frozen=True)
class Embedded:
    """The result of `embed_texts`.

    Attributes:
        vectors: (texts, dimension) float32, in the order given; a memory map when a file was asked for.
        truncated: how many texts were longer than the embedder reads. 0 for an embedder that cannot tell.
    """

    vectors: np.ndarray
    truncated: int


def embed_texts(
    embedder: Embedder,
    texts: Iterable[str],
    *,
    cache: VectorCache | None = None,
    out: str | Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Embedded:
    """Embed texts in the order given, however many there are.

    Args:
        embedder: any source of vectors.
        texts: read once, a block at a time.
        cache: vectors found here are not computed, and those computed are put here.
        out: a .npy file to write to. A second call with the same texts and embedder goes on where the first
            was stopped, at whatever instant; with other texts it starts over.
        on_progress: called with the number of texts just done, those an earlier call had done included.

    Raises:
        ModelError: `out` is a file that this function did not write.
        ValueError: what the embedder raises for a bad text.
    """
    if isinstance(texts, str):
        check_texts(texts)
    stream = iter(texts)
    file = VectorFile(Path(out), embedder.identity, embedder.dimension) if out is not None else None
    blocks: list[np.ndarray] = []
    truncated = done = 0
    if file is not None:
        stream = file.resume(stream)
        truncated, done = file.cut, file.rows
        if on_progress is not None and done:
            on_progress(done)
    size = _FIRST_BLOCK
    while block := list(islice(stream, size)):
        started = time.monotonic()
        check_texts(block, done)
        vectors, cut = _embed_block(embedder, block, cache)
        truncated += int(cut.sum())
        done += len(block)
        if file is not None:
            file.append(block, vectors, int(cut.sum()))
        else:
            blocks.append(vectors)
        if on_progress is not None:
            on_progress(len(block))
        if time.monotonic() - started < _BLOCK_SECONDS / 2:
            size = min(2 * size, _LARGEST_BLOCK)
    if file is not None:
        return Embedded(file.finish(), truncated)
    return Embedded(np.concatenate([np.empty((0, embedder.dimension), np.float32), *blocks]), truncated)


def _embed_block(
    embedder: Embedder, texts: Sequence[str], cache: VectorCache | None
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and cut marks of a block, each distinct text computed at most once."""
    unique = list(dict.fromkeys(texts))
    known = cache.get(embedder.identity, unique) if cache is not None else {}
    missing = [text for text in unique if text not in known]
    if missing:
        if isinstance(embedder, Truncating):
            vectors, cut = embedder.embed_marked(missing)
        else:
            vectors, cut = np.asarray(embedder.embed(missing), np.float32), np.zeros(len(missing), bool)
        if cache is not None:
            cache.put(embedder.identity, missing, vectors, cut)
        known |= {text: (v, bool(c)) for text, v, c in zip(missing, vectors, cut, strict=True)}
    rows = [known[text] for text in texts]
    return np.stack([vector for vector, _ in rows]), np.array([cut for _, cut in rows])
