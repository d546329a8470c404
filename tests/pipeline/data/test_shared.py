"""Files of which each of several processes reads its own, against one that reads all; threads are them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.table import Table, choose_rows
from synalign_jax.pipeline.data.tables import read_table


class Peer:
    def __init__(self, index: int, count: int, said: list[Any], barrier: threading.Barrier) -> None:
        self.index, self.count, self._said, self._barrier = index, count, said, barrier

    def told(self, value: Any) -> list[Any]:
        self._said[self.index] = value
        self._barrier.wait(30)
        found = list(self._said)
        self._barrier.wait(30)
        return found


def among(count: int, work: Callable[[Peer], Any]) -> list[Any]:
    said, barrier = [None] * count, threading.Barrier(count)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, [Peer(i, count, said, barrier) for i in range(count)]))


def write(path: Path, rows: int, width: int = 3, **others: Any) -> None:
    rng = np.random.default_rng(rows)
    vectors = rng.normal(size=(rows, width)).astype(np.float32)
    columns = {
        "text": pa.array([f"row {i} of {path.name} \u00e9" for i in range(rows)], pa.string()),
        "label": pa.array([["a"], ["b", "a"]][i % 2] for i in range(rows)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width),
        "more": pa.array(range(rows), pa.int64()),
    }
    if not rows:
        columns["label"] = pa.array([], pa.list_(pa.string()))
    pq.write_table(pa.table(columns | others), path)


def test_every_process_has_the_table_of_one_that_reads_all(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "rows", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    for name, rows in {"a": 5, "b": 0, "c": 7, "d": 2}.items():
        write(folder / f"{name}.parquet", rows)
    write(folder / "e.parquet", 2, text=pa.array([" ", "whole"]))
    alone = read_table(folder, multi_label=True)
    some = np.array([0, 3, 9, 14])
    for count in (2, 3, 5):

        def read(peer: Peer) -> Table:
            return read_table(folder, multi_label=True, scratch=scratch, peers=peer)

        for found in among(count, read):
            for table, whole in ((found, alone), (choose_rows(found, some), choose_rows(alone, some))):
                assert list(table.texts or []) == list(whole.texts or [])
                assert (table.labels, table.label_sets) == (whole.labels, whole.label_sets)
                np.testing.assert_array_equal(np.asarray(table.embeddings[:]), np.asarray(whole.embeddings))
                assert table.others.take(range(len(table))) == whole.others.take(range(len(whole)))
            assert (found.said, found.columns, found.in_files) == (alone.said, alone.columns, alone.in_files)
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("fault", ["missing", "width", "scratch"])
def test_a_fault_of_one_ends_all(tmp_path: Path, fault: str) -> None:
    write(tmp_path / "a.parquet", 5)
    if fault == "missing":
        write(tmp_path / "b.parquet", 5, label=pa.array([["a"], None, ["a"], [None], ["a"]]))
    else:
        write(tmp_path / "b.parquet", 5, width=4 if fault == "width" else 3)
    scratch = tmp_path / "none" if fault == "scratch" else tmp_path
    words = {
        "missing": "b.parquet: row 1",
        "width": "b.parquet: rows are 4 wide",
        "scratch": "one file system",
    }

    def read(peer: Peer) -> str:
        with pytest.raises(DataError) as heard:
            read_table(str(tmp_path / "*.parquet"), multi_label=True, scratch=scratch, peers=peer)
        return str(heard.value)

    for said in among(2, read):
        assert words[fault] in said
