"""Files of texts as a Ray data set: each worker reads files of its own, by the readers that commands use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from synalign_jax.pipeline.data.shards import find_files
from synalign_jax.pipeline.data.tables import read_table

from .connect import connected, explained

if TYPE_CHECKING:
    from ray.data import Dataset  # pyright: ignore[reportMissingImports]

ROWS = 4_096  # of a block: what one worker is handed at a time


def read(
    source: str, *, text: str = "text", label: str | None = None, encoding: str | None = None
) -> Dataset:
    """Rows of every file behind a name, in the order of the files.

    Args:
        source: a path, folder of shards, pattern or URL; every worker must see it under this name.
        text: the column of texts, or a template over several.
        label: the column of labels; None reads none.
        encoding: of text files; None finds it out.

    Returns:
        A data set with the columns `shard` (the file), `row` (its row there, from 0), `text` and, if asked
        for, `label`.

    Raises:
        DataError: nothing is there, or no data; that a worker cannot read a file is heard when the data set
            is computed.
        ClusterError: no ray, or no cluster.
    """
    return dataset(files_behind(source), text=text, label=label, encoding=encoding)


def files_behind(source: str) -> list[str]:
    """The names under which every worker finds the files."""
    # Workers have a working folder of their own.
    return [
        file.name if file.system is not None else str(Path(file.path).absolute())
        for file in find_files(source)
    ]


def dataset(files: list[str], **columns: Any) -> Dataset:
    """`read`; with `said`, a column of that name has what a file's reader said, in the file's first row."""
    ray = connected()
    with explained():
        shards = ray.data.from_items([{"shard": name} for name in files], override_num_blocks=len(files))
        rows = shards.map_batches(
            _rows,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs=columns,
            # Other than those of what follows, or Ray would have one worker do all with the rows of a file.
            num_cpus=0.5,
        )
    rows.context.execution_options.preserve_order = True
    return rows


def _rows(shards: pa.Table, *, said: bool = False, **columns: Any) -> Iterator[pa.Table]:
    for shard in shards["shard"].to_pylist():
        table = read_table(
            shard,
            embedding=None,
            required=[name for name in (columns["text"], columns["label"]) if name is not None],
            keep_blank=True,
            **columns,
        )
        found = {"text": pa.array(table.texts or [], pa.large_string())}
        if table.labels is not None:
            found["label"] = pa.array(table.labels, pa.large_string())
        for start in range(0, len(table), ROWS):
            block = pa.table({name: column[start : start + ROWS] for name, column in found.items()})
            rows = [table.position(start + row) for row in range(len(block))]
            if said:
                notes = "" if start else "\n".join(table.said)
                block = block.append_column("said", [[notes, *[""] * (len(block) - 1)]])
            yield block.add_column(0, "row", [rows]).add_column(0, "shard", [[shard] * len(rows)])
