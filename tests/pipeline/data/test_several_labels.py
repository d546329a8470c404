"""Rows of several labels, as files hold them: lists, words in a cell, a column of zeros and ones a label."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.config import Data
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.labels import match_label_sets
from synalign_jax.pipeline.data.sources import Rows
from synalign_jax.pipeline.data.tables import read_table
from synalign_jax.pipeline.stages.load import _clean

SETS = [("Food, drink", "sports"), ("Food, drink",), (), ("sports",)]


class _View:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


def _read(tmp_path: Path, name: str, data: str, **columns: str):
    (tmp_path / name).write_text(data)
    return read_table(tmp_path / name, multi_label=True, **columns)


def test_lists_and_what_is_said_of_them(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"t{i}", "label": list(s)}) + "\n" for i, s in enumerate(SETS))
    table = _read(tmp_path, "r.jsonl", rows)
    assert table.label_sets == SETS
    assert table.labels == ["Food, drink | sports", "Food, drink", "", "sports"]
    assert table.said[-1].endswith("1 rows have several labels, 1 have none; 4 combinations")


def test_the_whole_column_says_where_cells_are_cut(tmp_path: Path) -> None:
    """A row of one label with a comma in it is not cut there where others show that bars stand between."""
    cells = ['"Food, drink|sports"', '"Food, drink"', "", "sports"]
    data = "text,label\n" + "".join(f"t{i},{cell}\n" for i, cell in enumerate(cells))
    table = _read(tmp_path, "r.csv", data)
    assert table.label_sets == SETS
    assert any("cut at '|'" in said for said in table.said)
    commas = _read(tmp_path, "c.csv", 'text,label\na,"x, y"\nb,"[""x"", ""z""]"\nc,"[\'y\']"\n')
    assert commas.label_sets == [("x", "y"), ("x", "z"), ("y",)]
    assert any("cut at ','" in said for said in commas.said)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_zeros_and_ones_for_each_label(tmp_path: Path, ending: str) -> None:
    rows = [
        {"text": "a", "toxic": 1, "insult": 0, "id": 7},
        {"text": "b", "toxic": 0, "insult": 0, "id": 8},
        {"text": "c", "toxic": 1, "insult": 1, "id": 9},
    ]
    path = tmp_path / f"r{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == ".csv":
        path.write_text("text,toxic,insult,id\na,1,0,7\nb,0,0.0,8\nc,True,yes,9\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(path, label="toxic, insult", required=["toxic, insult"], multi_label=True)
    assert table.label_sets == [("toxic",), (), ("insult", "toxic")]
    assert [list(row) for row in table.others.take([0])] == [["id"]]
    with pytest.raises(DataError, match="no column 'hate'; the columns are"):
        read_table(path, label="toxic,hate", multi_label=True)


@pytest.mark.parametrize(
    ("cell", "message"),
    [("0.7", "line 2: 'toxic' is '0.7'; a label's own column holds 0 or 1"), ("", "line 2 has no value for")],
)
def test_a_cell_that_says_neither_is_named(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path, "r.csv", f"text,toxic,insult\na,{cell},1\n", label="toxic,insult")


def test_a_label_that_no_row_has_is_said(tmp_path: Path) -> None:
    table = _read(tmp_path, "r.csv", "text,toxic,insult\na,1,0\nb,0,0\n", label="toxic,insult")
    assert table.label_sets == [("toxic",), ()]
    assert any("r.csv: no row has the label 'insult': there are only zeros" in said for said in table.said)


def test_a_label_that_holds_what_stands_between_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: the label 'a \| b' in 'label' holds"):
        _read(tmp_path, "r.jsonl", '{"text": "t", "label": ["a | b"]}\n')


def test_labels_meet_in_one_spelling_and_by_class_names() -> None:
    real = ("real", [("Joy", "fear"), ("fear",)])
    sets, said = match_label_sets(real, ("pool", [("joy",), ("fear", "joy"), ("calm",)]))
    assert sets == [("Joy",), ("Joy", "fear"), ("calm",)]
    assert "'joy' as 'Joy'" in said[0]
    assert said[1:] == ["pool: no row of real has its labels 'calm'"]
    sets, said = match_label_sets(real, ("pool", [("0", "1"), ("1",)]), ["Joy", "fear"])
    assert sets == [("Joy", "fear"), ("fear",)]
    with pytest.raises(DataError, match="none of its labels"):
        match_label_sets(real, ("pool", [("7",), ("8",)]))


def test_settings_of_labels_are_of_the_labels_and_not_of_their_combinations() -> None:
    rows = Rows(["a", "b", "c"], ["0 | 1", "1", "2"])
    data = Data(source="r", multi_label=True, label_names={"0": "joy", "1": "fear"}, labels=["joy", "fear"])
    cleaned = _clean(_View(), rows, data)  # type: ignore[arg-type]
    assert (cleaned.texts, cleaned.labels) == (["a", "b"], ["fear | joy", "fear"])
