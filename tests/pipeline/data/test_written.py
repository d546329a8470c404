"""Rows written in any format are what is read again."""

from pathlib import Path

import pytest

from synalign_jax.pipeline.data.tables import read_table
from synalign_jax.pipeline.data.written import FORMATS, with_others, write_rows

OURS = [
    {"index": 3, "weight": 0.5, "text": 'say "hi",\n\tthen; go', "label": "ä|b"},
    {"index": 4, "text": "\rx"},
]
OTHERS = [{"id": 1, "tags": ["a", "b"], "text": "theirs"}, {"id": None, "meta": {"k": 1}, "tags": []}]


@pytest.mark.parametrize("ending", FORMATS)
def test_rows_come_back_with_their_other_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, with_others(OURS, OTHERS), path.name)
    table = read_table(path, label=None)
    assert table.texts == [row["text"] for row in OURS]
    first, second = table.others.take([0, 1])
    assert str(first["index"]) == "3"
    assert first["original_text"] == "theirs"
    assert first["label"] == "ä|b"
    assert first["tags"] in (["a", "b"], '["a", "b"]')
    assert second["meta"] in ({"k": 1}, '{"k": 1}')
    assert second.get("id") in (None, "")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_no_rows_still_have_their_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, [], path.name, ["index", "text"])
    assert path.stat().st_size > 0
    if ending != ".parquet":
        assert path.read_bytes() in (b"index,text\r\n", b"index\ttext\r\n")
