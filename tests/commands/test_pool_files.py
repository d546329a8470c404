"""synalign align on the files that people have: what went in is said, and the other columns come out."""

import argparse
import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.commands import align
from synalign_jax.commands.pool_rows import drawn_rows
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.tables import read_table
from synalign_jax.pipeline.data.written import write_rows

_RNG = np.random.default_rng(0)
_QUICK = ("--regularization", "0.01")  # nothing is cross-validated


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    align.register(parser.add_subparsers())
    options = parser.parse_args(["align", *map(str, arguments)])
    return options.run(options)


def _rows(count: int, shift: float, **columns) -> list[dict]:
    """Rows with vectors of their own, so that nothing is embedded."""
    rows = []
    for i in range(count):
        row = {name: value(i) if callable(value) else value for name, value in columns.items()}
        rows.append({**row, "embedding": (_RNG.normal(size=4) + shift * (i % 3 > 0)).tolist()})
    return rows


def _jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_folder_of_parquet_shards_with_names_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    real = _jsonl(
        tmp_path / "real.jsonl", _rows(40, 0.0, review=lambda i: f"real {i}", stars=lambda i: i % 2)
    )
    shards = tmp_path / "shards"
    shards.mkdir()
    for shard in range(3):
        rows = _rows(
            40, 1.5, output=lambda i, s=shard: f"made {s}-{i}", mark=lambda i: float(i % 2), id=lambda i: i
        )
        pq.write_table(pa.Table.from_pylist(rows), shards / f"part-{shard}.parquet")
    out = tmp_path / "out"
    of_real = ("--real-text", "review", "--real-label", "stars")
    of_pool = ("--synthetic-text", "output", "--synthetic-label", "mark")
    arguments = (
        "--real",
        real,
        "--synthetic",
        shards,
        "--out",
        out,
        *of_real,
        *of_pool,
        "--size",
        20,
        "--weights",
        "distribution",
    )
    assert _run(*arguments, "--resampled", "resampled.parquet") == 0
    drawn = pq.read_table(out / "resampled.parquet").to_pylist()
    assert list(drawn[0]) == ["index", "weight", "text", "label", "id"]
    for row in drawn:
        shard, inside = divmod(row["index"], 40)
        assert (row["text"], row["label"], row["id"]) == (f"made {shard}-{inside}", inside % 2, inside)
    said = capsys.readouterr().out
    assert "synthetic rows: 120, " in said
    assert "labels: 0 60, 1 60" in said
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.index("What went in?") < report.index("Is it like the real text?")
    top = report.partition("What went in?</h2>")[2].partition("Is it like the real text?")[
        0
    ]  # opens the page
    cells = re.findall(r"<bdi>(.*?)</bdi>", top)
    parts = ", ".join(str(shards / f"part-{shard}.parquet") for shard in range(3))
    own = ["those of the files"]
    named = [f"text: {t}, label: {y}, embedding: embedding" for t, y in (of_real[1::2], of_pool[1::2])]
    assert cells[:5] == ["real rows", str(real), named[0], "0 20, 1 20", *own]
    assert cells[5:] == ["synthetic rows", parts, named[1], "0 60, 1 60", *own]
    assert _run(*arguments, "--resampled", "resampled.csv") == 0
    assert not (out / "resampled.parquet").exists(), (
        "an earlier result's rows do not stand beside new weights"
    )
    with (out / "resampled.csv").open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [row["text"] for row in drawn]


def test_instructions_are_aligned_by_their_whole_rows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def alpaca(count: int, shift: float) -> list[dict]:
        return _rows(
            count, shift, instruction=lambda i: f"Do {i}", input=lambda i: "x" * (i % 2), output="Done."
        )

    real, pool = tmp_path / "real.json", tmp_path / "pool.json"
    real.write_text(json.dumps(alpaca(30, 0.0)), encoding="utf-8")
    pool.write_text(json.dumps(alpaca(60, 1.0)), encoding="utf-8")
    assert _run("--real", real, "--synthetic", pool, "--out", tmp_path / "out", *_QUICK) == 0
    rows = _lines(tmp_path / "out/resampled.jsonl")
    even = next(row for row in rows if row["index"] % 2 == 0)
    assert even["text"] == f"Do {even['index']}\nDone."
    assert {"instruction", "input", "output"} <= set(even)
    said = capsys.readouterr().out
    assert "the text is made of 'instruction', 'input', 'output'" in said
    assert "labels: none" in said


def test_pairs_come_out_with_all_their_columns_in_the_format_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Query-passage pairs in two layouts, from files to the report; what comes out is what is read again."""
    real = _rows(30, 0.0, query=lambda i: f"where is {i}", passage=lambda i: f"It is\nat {i}.")
    pool = _rows(
        60,
        1.0,
        question=lambda i: f'who, "{i}"?',
        answer=lambda i: f"Nobody; {i}",
        tags=lambda i: ["a", i],
        n=7,
    )
    arguments = (
        "--real",
        _jsonl(tmp_path / "real.jsonl", real),
        "--synthetic",
        _jsonl(tmp_path / "p.jsonl", pool),
    )
    name = "drawn.csv"
    sides = ("--synthetic-text", "{question}\n{answer}", "--resampled", name, "--no-labels")
    assert _run(*arguments, *sides, "--out", tmp_path / "out", *_QUICK) == 0
    table = read_table(tmp_path / "out" / name, embedding=None)
    rows = table.others.take(range(len(table)))
    assert rows
    for text, row in zip(table.texts or [], rows, strict=True):
        i = int(row["index"])
        assert text == f'who, "{i}"?\nNobody; {i}'
        assert (row["question"], row["answer"], str(row["n"])) == (f'who, "{i}"?', f"Nobody; {i}", "7")
        assert json.loads(row["tags"]) == ["a", i]
    page = (tmp_path / "out/report.html").read_text()
    assert "Nobody; " in page
    said = capsys.readouterr().out
    assert "the text is made of 'query', 'passage'" in said


def test_rows_of_several_labels_keep_them(tmp_path: Path) -> None:
    def tagged(count: int, shift: float) -> list[dict]:
        return _rows(count, shift, text=lambda i: f"t {i}", label=lambda i: ["a", "b"][: i % 3])

    real, pool = _jsonl(tmp_path / "r.jsonl", tagged(40, 0.0)), _jsonl(tmp_path / "p.jsonl", tagged(90, 1.0))
    arguments = ("--real", real, "--synthetic", pool, "--out", tmp_path / "out")
    with pytest.raises(DataError, match=r"line 1: 'label' is a list.*--multi-label"):
        _run(*arguments)
    assert not (tmp_path / "out").exists(), "a folder is made only once there is something to put in it"
    assert _run(*arguments, "--multi-label", *_QUICK) == 0
    for row in _lines(tmp_path / "out/resampled.jsonl"):
        assert row["label"] == ["a", "b"][: row["index"] % 3]


def test_blank_texts_are_counted_and_weigh_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    real = _jsonl(tmp_path / "real.jsonl", _rows(30, 0.0, text=lambda i: f"real {i}"))
    pool = _jsonl(tmp_path / "pool.jsonl", _rows(60, 1.0, text=lambda i: f"made {i}" if i % 4 else " "))
    assert _run("--real", real, "--synthetic", pool, "--out", tmp_path / "out", *_QUICK) == 0
    weights = np.load(tmp_path / "out/distribution.npy")
    assert weights.shape == (60,)
    assert not weights[::4].any()
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)
    assert all(row["text"] == f"made {row['index']}" for row in _lines(tmp_path / "out/resampled.jsonl"))
    assert "15 of 60 rows have a blank text" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["drawn.csv", "drawn.parquet"])
def test_a_file_of_no_rows_has_its_columns(tmp_path: Path, name: str) -> None:
    path = _jsonl(tmp_path / "pool.jsonl", [{"text": "a", "label": "x", "weight": 1, "id": 7}])
    pool = read_table(path)
    some, names = drawn_rows(pool, np.array([0]), np.ones(1))
    assert list(some[0]) == names == ["index", "weight", "text", "label", "original_weight", "id"]
    rows, names = drawn_rows(pool, np.zeros(0, int), np.zeros(1))
    write_rows(tmp_path / name, rows, name, names)
    if name.endswith("csv"):
        assert (tmp_path / name).read_text() == ",".join(names) + "\n"
    else:
        assert pq.read_table(tmp_path / name).column_names == names


def test_a_column_of_our_own_name_is_kept_under_another(tmp_path: Path) -> None:
    real = _jsonl(tmp_path / "real.jsonl", _rows(30, 0.0, text="real"))
    pool = _jsonl(tmp_path / "pool.jsonl", _rows(60, 1.0, text=lambda i: f"made {i}", index=7, weight=0.5))
    assert _run("--real", real, "--synthetic", pool, "--out", tmp_path / "out", *_QUICK) == 0
    row = _lines(tmp_path / "out/resampled.jsonl")[0]
    assert (row["original_index"], row["original_weight"]) == (7, 0.5)


@pytest.mark.parametrize(
    ("real", "pool", "options", "message"),
    [
        ({"text": "a", "labels": "x"}, {"text": "b", "labels": "x"}, ["--label", "label"], "mean 'labels'"),
        ({"text": "a", "label": "x"}, {"text": "b", "kind": "x"}, [], "--synthetic-label"),
        ({"text": "a", "label": "x"}, {"text": "b", "label": "y"}, [], "its labels are 'y'"),
        ({"text": "a", "label": None}, {"text": "b", "label": "y"}, [], "line 1 has no value for 'label'"),
        ({"text": "a", "label": float("nan")}, {"text": "b", "label": "y"}, [], "no value for 'label'"),
        ({"text": float("nan")}, {"text": "b"}, [], "line 1 has no value for 'text'"),
        ({"text": "a \ud83d"}, {"text": "b"}, [], "half of a surrogate pair in 'text'"),
        ({"text": "a"}, {"text": "b"}, ["--duplicate-threshold", "2"], "give a number above 0, up to 1"),
        ({"text": "a"}, {"text": "b"}, ["--real-label", ""], "an empty name; give --no-labels"),
        ({"body": "a"}, {"text": "b"}, ["--text", "text"], "no column 'text'; the columns are 'body'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_mend(
    tmp_path: Path, real: dict, pool: dict, options: list[str], message: str
) -> None:
    files = (
        _jsonl(tmp_path / "real.jsonl", _rows(5, 0.0, **real)),
        _jsonl(tmp_path / "pool.jsonl", _rows(9, 0.0, **pool)),
    )
    with pytest.raises(DataError, match=message):
        _run("--real", files[0], "--synthetic", files[1], "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_label_column_that_neither_file_has_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    real = _jsonl(tmp_path / "real.jsonl", _rows(30, 0.0, text="a", labels="x"))
    pool = _jsonl(tmp_path / "pool.jsonl", _rows(60, 1.0, text="b", labels="x"))
    assert _run("--real", real, "--synthetic", pool, "--out", tmp_path / "out", *_QUICK) == 0
    said = "no labels: column 'label' is in neither file"
    printed = capsys.readouterr().out
    assert said in printed
    assert "Is 'labels' the labels? Then give --label labels" in printed
    assert "no labels: column" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_labels_of_one_meaning_are_one_label(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    real = _jsonl(tmp_path / "real.jsonl", _rows(30, 0.0, text="a", label=lambda i: ["Billing", "0"][i % 2]))
    pool = _jsonl(tmp_path / "pool.jsonl", _rows(60, 1.0, text="b", label=lambda i: ["billing ", 0.0][i % 2]))
    assert (
        _run(
            "--real",
            real,
            "--synthetic",
            pool,
            "--out",
            tmp_path / "out",
            *_QUICK,
            "--weights",
            "distribution",
        )
        == 0
    )
    labels = {row["label"] for row in _lines(tmp_path / "out/resampled.jsonl")}
    assert labels == {"Billing", "0"}
    assert "'billing' as 'Billing'" in capsys.readouterr().out


def test_rows_of_conflicting_labels_are_named_and_left_out_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    labels = ["a", "b"]
    real = _rows(30, 0.0, text=lambda i: f"the real row of number {i}")
    rows = _rows(40, 1.0, text=lambda i: f"made {i} of {i * i}")
    for some in (real, rows):
        for i, row in enumerate(some):
            row["label"] = labels[i % 2]
    rows += [{**rows[7], "label": "a"}, {**rows[8], "text": "the real row of number 3", "label": "a"}]
    real[9]["text"] = real[8]["text"]
    arguments = ("--real", _jsonl(tmp_path / "real.jsonl", real), "--out", tmp_path / "out")
    arguments += ("--synthetic", _jsonl(tmp_path / "pool.jsonl", rows), "--weights", "distribution")
    assert _run(*arguments, "--conflicts", "drop", *_QUICK) == 0
    weights = np.load(tmp_path / "out/distribution.npy")
    assert np.flatnonzero(weights[[7, 40, 41]]).size == 0
    assert weights.shape == (42,)
    said = capsys.readouterr().out
    assert "conflicting labels: 3 rows whose text" in said
    assert "real.jsonl: conflicting labels: 2 rows" in said


@pytest.mark.parametrize("way", ["keep", "drop", "down-weight"])
def test_repetitions_count_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture, way: str) -> None:
    real = _jsonl(tmp_path / "real.jsonl", _rows(30, 0.0, text=lambda i: f"the real row of number {i}"))
    rows = _rows(60, 1.0, text=lambda i: f"made {i} of {i * i}")
    rows += [dict(rows[7]), dict(rows[7]), {**rows[8], "text": "the real row of number 3"}]
    pool = _jsonl(tmp_path / "pool.jsonl", rows)
    arguments = ("--real", real, "--synthetic", pool, "--out", tmp_path / "out", "--duplicates", way)
    assert _run(*arguments, "--leaks", "drop" if way == "drop" else "keep", *_QUICK) == 0
    weights = np.load(tmp_path / "out/distribution.npy")
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)
    assert weights.shape == (63,)
    said = capsys.readouterr().out
    assert "2 of 63 rows repeat an earlier one: 2 exactly" in said
    assert "copies of real rows: 1 (rows 62," in said
    if way == "drop":
        assert not weights[60:].any()
    else:
        np.testing.assert_allclose(weights[60:62], weights[7], rtol=1e-5)
    drawn = [row["index"] for row in _lines(tmp_path / "out/resampled.jsonl")]
    assert way == "keep" or not {60, 61} & set(drawn)
