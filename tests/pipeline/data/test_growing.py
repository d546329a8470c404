"""Rows and vectors that grow: what was put in comes out, in memory that grows with them."""

import numpy as np
import pyarrow as pa
import pytest

from synalign_jax.pipeline.data import growing
from synalign_jax.pipeline.data.growing import GrowingRows, GrowingVectors, VectorsOnDisk

SCHEMA = pa.schema([("text", pa.string()), ("of", pa.list_(pa.int64()))])


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_rows_come_out_as_they_went_in(monkeypatch, count: int) -> None:
    monkeypatch.setattr(growing, "_ROWS", 4)
    rows = [{"text": f"row {i} \u00e9\0", "of": list(range(i % 3))} for i in range(count)]
    held = GrowingRows(SCHEMA)
    for row in rows:
        held.append({**row, "besides": 1})
    assert len(held) == count
    assert pa.Table.from_batches(held.batches(), held.schema) == pa.Table.from_pylist(rows, SCHEMA)
    assert list(held.column("text")) == [row["text"] for row in rows]
    assert [held.value("of", i) for i in range(count)] == [row["of"] for row in rows]


def test_vectors_are_found_by_their_positions() -> None:
    rows = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    held = GrowingVectors(3, 4)
    assert held.blocks == []
    for some in np.split(rows, [1, 3, 3, 10]):
        held.extend(some)
    assert (len(held), held.shape) == (11, (11, 3))
    for some in (np.array([10, 0, 5, 5]), np.zeros(0, int), np.arange(11)):
        np.testing.assert_array_equal(held[some], rows[some])
    np.testing.assert_array_equal(np.concatenate(held.blocks), rows)


def test_vectors_on_disk_are_found_by_their_positions_and_leave_nothing(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    held = VectorsOnDisk(3, tmp_path)
    for some in np.split(rows, [1, 3, 3, 10]):
        held.extend(some)
    assert (len(held), held.shape) == (11, (11, 3))
    for some in (np.array([10, 0, 5, 5]), np.zeros(0, int), np.arange(11)):
        np.testing.assert_array_equal(held[some], rows[some])
    with pytest.raises(OSError, match="ends before row 11"):
        held[np.array([11])]
    assert list(tmp_path.iterdir()) == []
