import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.data import growing
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.labels import match_labels
from synalign_jax.pipeline.data.tables import read_table

ROWS = [
    {"text": "a “fine” film,\nwith a line break", "label": "1", "embedding": [0.5, -1.0]},
    {"text": 'says "no", twice', "label": "0", "embedding": [0.25, 2.0]},
]


def _write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    table = read_table(_write(tmp_path / f"rows.{suffix}", ROWS))
    assert table.texts == [row["text"] for row in ROWS]
    assert table.labels == ["1", "0"]
    assert table.embeddings is not None
    np.testing.assert_array_equal(table.embeddings, [[0.5, -1.0], [0.25, 2.0]])


def test_npy_is_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    table = read_table(tmp_path / "x.npy")
    assert isinstance(table.embeddings, np.memmap)
    assert len(table) == 3
    assert table.texts is None


def test_columns_are_named_by_the_caller_and_extra_ones_ignored(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.jsonl", [{"review": "good", "stars": 5, "id": {"x": 1}}])
    table = read_table(path, text="review", label="stars")
    assert (table.texts, table.labels, table.embeddings) == (["good"], ["5"], None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "the file has no rows"),
        ("x.csv", b"", "the file is empty"),
        ("x.csv", b"text,label\n", "the file has no rows"),
        ("x.jsonl", b'{"text": "ok"}\n{"text": "caf\xe9"}\n', "line 2 is not UTF-8 (byte 0xe9"),
        ("x.csv", b"text\nok\n\xff\n", "line 3 is not UTF-8"),
        ("x.jsonl", b'{"text": "ok"}\n{"text": "cut of', "line 2 is not JSON"),
        ("x.jsonl", b'{"text": "ok"}\n{"text": "cut of', "it may have been cut off"),
        ("x.csv", b'text,label\nok,1\n"cut of', "a quote is missing"),
        ("x.csv", b"text,label\nok,1\nonly text\n", "line 3 has 1 fields, the header has 2"),
        ("x.jsonl", b'{"text": "ok"}\n{"text": null}\n', "line 2 has no value for 'text'"),
        ("x.jsonl", b'{"text": "ok"}\n{"other": 1}\n', "line 2 has no value for 'text'"),
        ("x.jsonl", b'{"text": ["no"]}\n', "line 1: 'text' is a list"),
        ("x.jsonl", b"[1]\n", "item 1 is not a JSON object"),
        ("x.jsonl", b'{"embedding": [1, 2]}\n{"embedding": [1]}\n', "the embedding of line 2 has shape (1,)"),
        ("x.jsonl", b'{"embedding": [1, "a"]}\n', "line 1: 'embedding' is not a list of numbers"),
        ("x.csv", b"text,text\na,b\n", "names 'text' twice"),
        ("x.csv", b"body\na\n", "none of the columns 'text', 'label', 'embedding'; the columns are 'body'"),
        ("x.parquet", b"PAR1 not really", "not a whole Parquet file"),
        ("x.npy", b"\x93NUMPY\x01\x00", "not a readable .npy array"),
        ("x.xlsx", b"", "unknown format '.xlsx'"),
    ],
)
def test_bad_files_are_refused_by_row_and_mend(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        read_table(tmp_path / name)


def test_a_required_column_that_is_missing_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.csv", [{"text": "good", "stars": 5}])
    with pytest.raises(DataError, match="no column 'label'; the columns are 'text', 'stars'"):
        read_table(path, required=("label",))


def test_parquet_rows_with_nulls_or_ragged_embeddings_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "nulls.parquet", [{"text": "a"}, {"text": None}])
    with pytest.raises(DataError, match="row 1 has no value for 'text'"):
        read_table(path)
    path = _write(tmp_path / "ragged.parquet", [{"embedding": [1.0, 2.0]}, {"embedding": [1.0]}])
    with pytest.raises(DataError, match="the embedding of row 1 has 1 numbers, others 2"):
        read_table(path)


def test_a_parquet_file_cut_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cut off"):
        read_table(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "none.csv")


def test_many_parquet_vectors_are_put_on_disk_and_leave_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(0).normal(size=(25_000, 4)).astype("f4")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    pq.write_table(pa.table({"embedding": column}), tmp_path / "rows.parquet")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert not isinstance(read_table(tmp_path / "rows.parquet", scratch=scratch).embeddings, np.memmap)
    monkeypatch.setattr(growing, "IN_MEMORY_BYTES", vectors.nbytes - 1)
    assert not isinstance(read_table(tmp_path / "rows.parquet").embeddings, np.memmap)
    found = read_table(tmp_path / "rows.parquet", scratch=scratch).embeddings
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, vectors)
    assert not list(scratch.iterdir())


def test_class_labels_of_datasets_are_read_by_their_names(tmp_path: Path) -> None:
    import datasets

    names = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(text=datasets.Value("string"), label=names, tags=datasets.Sequence(names))
    rows = {"text": ["a", "b", "c"], "label": [1, 0, 1], "tags": [[0, 1], [1], [0]]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.to_parquet(str(tmp_path / "r.parquet"))
    made.save_to_disk(str(tmp_path / "folder"))
    for path in (tmp_path / "r.parquet", next((tmp_path / "folder").glob("*.arrow"))):
        table = read_table(path, text="text", label="label", embedding=None)
        assert table.labels == ["pos", "neg", "pos"]
        assert not table.whole_labels
        assert "0 is 'neg', 1 is 'pos'" in " ".join(table.said)
        tags = read_table(path, text="text", label="tags", embedding=None, multi_label=True)
        assert tags.label_sets == [("neg", "pos"), ("pos",), ("neg",)]
    withheld = datasets.Dataset.from_dict(rows | {"label": [1, -1, 0]}, features=features)
    withheld.to_parquet(str(tmp_path / "w.parquet"))
    with pytest.raises(DataError, match="row 1 has no value for 'label'"):
        read_table(tmp_path / "w.parquet", text="text", label="label", embedding=None)


def test_numbers_on_one_side_meet_the_class_names_of_the_other() -> None:
    for real, pool in ((["neg", "pos"], ["1", "0", "0"]), (["0", "1"], ["pos", "neg", "neg"])):
        labels, said = match_labels(("r", real), ("p", pool), ("neg", "pos"))
        assert labels == [real[1], real[0], real[0]]
        assert "in the spelling of r" in said[0]
    with pytest.raises(DataError, match="no row has the label"):
        match_labels(("r", ["neg", "pos"]), ("p", ["1", "2"]), ("neg", "pos"))
