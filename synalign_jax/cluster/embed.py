"""Texts of a Ray data set -> vectors, each worker with an encoder of its own and one cache for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from synalign_jax.api.wiring import cache_folder, open_embedder
from synalign_jax.pipeline import config
from synalign_jax.pipeline.data.intake import Intake, named
from synalign_jax.text import Embedded, embed_texts, keep_compiled
from synalign_jax.text.vectors import VectorFile

from .connect import check_workers, connected, explained, one_a_machine
from .keep import FarCache, kept_cache
from .read import ROWS, dataset, files_behind

if TYPE_CHECKING:
    from ray.data import Dataset  # pyright: ignore[reportMissingImports]


def embed(
    rows: Dataset,
    encoder: config.Encoder,
    *,
    workers: int,
    column: str = "text",
    cache: str | Path | None = None,
) -> Dataset:
    """Add a column `embedding`, (dimension,) float32 a row.

    Each finished block is in the cache on this machine before its worker goes on: where a worker dies,
    another one computes at most its last few seconds again, and so does the same call after a stop.

    Args:
        rows: with a column of texts.
        encoder: what [encoder] of a run says; each worker opens it, and loads its files there.
        workers: processes that embed. Each takes one core of Ray's count, or one GPU where the cluster has.
        column: the texts.
        cache: the folder of the cache on this machine; None is that of the commands.

    Raises:
        ClusterError: no ray, or no cluster. What a worker raises (ModelError, ConfigError) is heard when the
            data set is computed.
    """
    return _embedded(rows, encoder, workers, column, cache, False)


def _embedded(
    rows: Dataset,
    encoder: config.Encoder,
    workers: int,
    column: str,
    cache: str | Path | None,
    cuts: bool,
) -> Dataset:
    check_workers(workers)
    ray = connected()
    with explained():
        return rows.map_batches(
            _Embedding,
            fn_constructor_args=(encoder, kept_cache(ray, Path(cache or cache_folder())), column, cuts),
            batch_size=ROWS,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=1 if ray.cluster_resources().get("GPU", 0) >= workers else 0,
        )


def embed_file(
    source: str,
    out: str | Path,
    encoder: config.Encoder,
    *,
    workers: int | None = None,
    text: str = "text",
    encoding: str | None = None,
    cache: str | Path | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_intake: Callable[[Intake], None] | None = None,
) -> Embedded:
    """`synalign embed --engine ray`: the texts behind a name as one .npy file, in the order of the files.

    Args:
        source: see `read`.
        out: a new .npy file of this machine, or one of an earlier call, which is written anew.
        encoder: what [encoder] of a run says.
        workers: processes that embed; None is one a GPU, or one a machine where there are none.
        text, encoding: see `read`.
        cache: see `embed`.
        on_progress: called with the number of texts just done.
        on_intake: called once with what was read.

    Returns:
        (texts, dimension) float32, a memory map of the file, and how many texts were cut.

    Raises:
        ClusterError: no ray, no cluster, or more deaths of workers than Ray puts up with.
        DataError: files that cannot be read, by a worker too.
        ModelError: an encoder that cannot be used; `out` is a file that was not written here.
    """
    ray = connected()  # first, since it forks: an encoder has threads
    opened = open_embedder(encoder)  # what it is called, and that its files are there, before any work
    file = VectorFile(Path(out), opened.identity, opened.dimension)
    with explained():
        files = files_behind(source)
        rows = dataset(files, text=text, label=None, encoding=encoding, said=True)
        count = one_a_machine(ray) if workers is None else workers
        found = _embedded(rows, encoder, count, "text", cache, True)
        found.context.enable_progress_bars = False
        file.resume(iter(()))
        chosen, said, cut = found.select_columns(["text", "embedding", "cut", "said"]), list[str](), 0
        blocks: Iterable[Any] = chosen.iter_batches(batch_size=None, batch_format="pyarrow")
        for block in blocks:
            flat = block["embedding"].combine_chunks().flatten().to_numpy()
            of_block = sum(block["cut"].to_pylist())
            file.append(block["text"].to_pylist(), flat.reshape(len(block), -1), of_block)
            said += [line for notes in block["said"].to_pylist() if notes for line in notes.split("\n")]
            cut += of_block
            if on_progress is not None:
                on_progress(len(block))
    if on_intake is not None:
        columns, notes = {"text": text}, tuple(dict.fromkeys(said))
        on_intake(Intake("rows", named(files), file.rows, file.rows, columns, {}, remarks=notes))
    return Embedded(file.finish(), cut)


class _Embedding:
    """With `cuts` a column `cut` has, in a block's first row, how many of its texts were cut."""

    def __init__(self, encoder: config.Encoder, cache: Any, column: str, cuts: bool) -> None:
        keep_compiled(cache_folder() / "xla")
        self._encoder, self._cache, self._column = open_embedder(encoder), FarCache(cache), column
        self._cuts = cuts

    def __call__(self, rows: pa.Table) -> pa.Table:
        embedded = embed_texts(self._encoder, rows[self._column].to_pylist(), cache=self._cache)
        found = embedded.vectors
        if self._cuts:
            counts = [embedded.truncated, *[0] * (len(rows) - 1)][: len(rows)]
            rows = rows.append_column("cut", pa.array(counts, pa.int64()))
        flat = pa.array(np.ascontiguousarray(found, np.float32).reshape(-1))
        return rows.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, found.shape[1]))
