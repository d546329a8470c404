"""Any number of texts of two halves of real sentences, with labels and vectors, as Parquet shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._stub import Vectors
from synalign_jax.pipeline.data.sources import Columns, load_source

BLOCK = 25_000
_REPEATED = 0.05  # share of the rows that say an earlier one again, some words being others


def sentences() -> tuple[list[str], list[str]]:
    rows = load_source("rotten_tomatoes", Columns("text", "label")).rows
    assert rows.labels is not None
    return [" ".join(text.split()) for text in rows.texts], list(rows.labels)


def texts(rows: int, seed: int = 0) -> Iterator[tuple[list[str], list[str]]]:
    """Blocks of texts with the labels of their first halves."""
    whole, labels = sentences()
    words = [text.split() for text in whole]
    every = sorted({word for of_text in words for word in of_text})
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        halves = rng.integers(0, len(words), (count, 2)).tolist()
        made = [words[a][: len(words[a]) // 2 + 1] + words[b][len(words[b]) // 2 :] for a, b in halves]
        of_row = [labels[a] for a, _ in halves]
        for row in np.flatnonzero(rng.random(count) < _REPEATED).tolist():
            if row:
                earlier = int(rng.integers(0, row))
                made[row], of_row[row] = list(made[earlier]), of_row[earlier]
                for _ in range(int(rng.integers(1, 4))):
                    place = int(rng.integers(0, len(made[row])))
                    made[row][place] = every[int(rng.integers(0, len(every)))]
        yield [" ".join(row) for row in made], of_row


def write(folder: Path, rows: int, shards: int) -> None:
    """`real.parquet` and `pool-*.parquet`, of columns text, label and embedding (384 float32)."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = Vectors()
    whole, labels = sentences()
    some = np.random.default_rng(1).permutation(len(whole))[:2_000].tolist()
    real = [whole[i] for i in some], [labels[i] for i in some]
    pq.write_table(_table(*real, vectors), folder / "real.parquet")
    writer, number = None, 0
    for start, block in enumerate(texts(rows)):
        if start * BLOCK >= number * rows / shards:
            if writer is not None:
                writer.close()
            table = _table(*block, vectors)
            writer = pq.ParquetWriter(folder / f"pool-{number:03}.parquet", table.schema)
            number += 1
        else:
            table = _table(*block, vectors)
        assert writer is not None
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _table(texts: list[str], labels: list[str], vectors: Vectors) -> pa.Table:
    rows = np.stack([vectors(text) for text in texts]).astype(np.float32)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return pa.table({"text": texts, "label": labels, "embedding": embedding})
