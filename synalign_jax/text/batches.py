"""Texts through a compiled function, tokenised ahead of it and packed on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from .errors import check_texts
from .packing import Batch, Packer
from .tokens import Tokenizer

_CHUNK = 1_024  # texts tokenised ahead while the device computes
_AHEAD = 2  # batches handed to the device before the oldest is read back


def map_texts(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    packer: Packer,
    run: Callable[[Batch], jax.Array],
    *,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What `run` gives for each text, in the order given, and which texts were cut.

    Args:
        run: a batch to (rows, texts a row, width).

    Returns:
        (len(texts), width) float32 and (len(texts),) bool.

    Raises:
        ModelError: an item that is not a text, with its index.
    """
    values = np.empty((len(texts), width), np.float32)
    cut = np.zeros(len(texts), bool)
    running: deque[tuple[Batch, jax.Array]] = deque()

    def collect() -> None:
        batch, result = running.popleft()
        values[batch.texts] = np.asarray(result)[batch.places[:, 0], batch.places[:, 1]]

    for batch in _batches(texts, tokenizer, packer, cut):
        running.append((batch, run(batch)))
        if len(running) > _AHEAD:
            collect()
    while running:
        collect()
    return values, cut


def _batches(texts: Sequence[str], tokenizer: Tokenizer, packer: Packer, cut: np.ndarray) -> Iterator[Batch]:
    """Full batches as they come together; marks in `cut` the texts that were too long."""

    def tokenise(start: int) -> list[tuple[int, np.ndarray]]:
        chunk = texts[start : start + _CHUNK]
        check_texts(chunk, start)
        ids, cut[start : start + _CHUNK] = tokenizer(chunk)
        return list(enumerate(ids, start))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(tokenise, 0)
        for start in range(_CHUNK, len(texts) + _CHUNK, _CHUNK):
            chunk = ahead.result()
            # One chunk ahead: its tokens are ready when the device asks, and memory stays bounded.
            ahead = pool.submit(tokenise, start)
            yield from packer.add(chunk)
    yield from packer.finish()
