"""Files as spreadsheets, databases, hubs and scripts leave them: read rightly, or refused with the mend."""

import datetime
import decimal
import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.tables import read_table


def _zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "text,label\na,x\nb,y\n")
    return stream.getvalue()


def _parquet(**columns: pa.Array) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


AB, XY = ["a", "b"], ["x", "y"]
_READ = {
    "files joined, header and all": (
        "r.csv",
        b"\xef\xbb\xbftext,label\na,x\n\xef\xbb\xbftext,label\nb,y\n",
        "line 3 repeats the header",
    ),
    "lines of joined files": (
        "r.jsonl",
        b'{"text":"a","label":"x"}\n\xef\xbb\xbf{"text":"b","label":"y"}\n',
        "",
    ),
    "a comment on top": (
        "r.csv",
        b"# by me\ntext,label\na,x\nb,y\n",
        "the names of the columns stand in line 2; what is above it ('# by me') is left out",
    ),
    "a title and a header over groups of columns": (
        "r.csv",
        b"Export of May,,\n\nrow,,meta\ntext,label,id\na,x,1\nb,y,2\n",
        "stand in line 4; what is above it ('Export of May,,') is left out",
    ),
    "the header again in capitals": (
        "r.csv",
        b"text,label\nText,LABEL\na,x\nb,y\n",
        "line 2 repeats the header",
    ),
    "single quotes": (
        "r.csv",
        b"'text','label'\n'a','x'\n'b','y'\n",
        "read as quoted by single quotes (')",
    ),
    "single quotes around texts alone": ("r.tsv", b"text\tlabel\n'a'\tx\n'b'\ty\n", "by single quotes"),
    "a Markdown table": (
        "r.csv",
        b"| text | label |\n|------|:-----:|\n| a    | x     |\n| b    | y     |\n",
        "read as a Markdown table",
    ),
    "commas behind the objects": (
        "r.jsonl",
        b'{"text":"a","label":"x"},\n{"text":"b","label":"y"},\n',
        "in commas",
    ),
    "a comma behind the last": (
        "r.jsonl",
        b'{"text":"a","label":"x"}\n{"text":"b","label":"y"} , ',
        "in commas",
    ),
    "objects without line ends": (
        "r.jsonl",
        b'{"text":"a","label":"x"}{"text":"b","label":"y"}',
        "several objects",
    ),
    "a comma before the bracket": ("r.json", b'[{"text":"a","label":"x"},\n{"text":"b","label":"y"},\n]', ""),
    "zip": ("r.csv.zip", _zipped("deep/rows.csv"), ""),
    "zip by macOS": ("r.csv.zip", _zipped("rows.csv", "__MACOSX/._rows.csv", ".DS_Store"), ""),
    "zip under another name": ("r.csv", _zipped("rows.csv"), ""),
    "blank lines before the header": ("r.csv", b"\n \r\ntext,label\na,x\nb,y\n", ""),
    "old Macintosh line ends": ("r.csv", b"text,label\ra,x\rb,y\r", ""),
    "padded labels and header": ("r.csv", b"text , label\n a,x \nb,  y\n", ""),
    "bytes that are text": (
        "r.parquet",
        _parquet(text=pa.array([b"a", b"b"]), label=pa.array([b"x", b"y"])),
        "",
    ),
    "two byte order marks": ("r.csv", b"\xef\xbb\xbf" * 2 + b"text,label\na,x\nb,y\n", ""),
    "blanks without a width": ("r.csv", "text,label\na,x\u00a0\nb,\u200by\n".encode(), ""),
    "empty rows of a spreadsheet": ("r.csv", b"text,label\na,x\nb,y\n,\n,\n", "2 lines at the end"),
    "texts of nothing visible": (
        "r.jsonl",
        '{"text":"a","label":"x"}\n{"text":"\u3000\u200b","label":"x"}\n{"text":"b","label":"y"}\n'.encode(),
        "a blank text",
    ),
    "turns as columns": (
        "r.jsonl",
        b'{"conversations":{"from":["a"],"value":["x"]},"label":"x"}\n'
        b'{"conversations":{"from":["b"],"value":["y"]},"label":"y"}\n',
        "the text is made of",
    ),
    "dictionaries": (
        "r.parquet",
        _parquet(
            text=pa.array(AB).dictionary_encode(), label=pa.array(XY, pa.large_string()).dictionary_encode()
        ),
        "",
    ),
}


@pytest.mark.parametrize("kind", sorted(_READ))
def test_it_is_read_and_what_is_odd_is_said(tmp_path: Path, kind: str) -> None:
    name, data, said = _READ[kind]
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name)
    assert [text.strip().removesuffix(": x").removesuffix(": y") for text in table.texts or []] == AB
    assert table.labels == XY
    assert said in " ".join(table.said)
    assert bool(said) == bool(table.said)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"say \"hi\" now",x', 'say "hi" now'),
        (r'"say \"hi, you\" now",x', 'say "hi, you" now'),
        (r'"C:\new \"folder\"",x', r'C:\new "folder"'),
        (r'"a path \\",x', r"a path \\"),
        ('"it ends in \\"",x', 'it ends in "'),
    ],
)
def test_a_backslash_before_a_quote_is_the_quote_alone(tmp_path: Path, written: str, meant: str) -> None:
    (tmp_path / "r.csv").write_text(f"text,label\n{written}\nb,y\n")
    table = read_table(tmp_path / "r.csv")
    assert table.texts == [meant, "b"]
    assert table.labels == ["x", "y"]


def test_a_lone_carriage_return_without_quotes_is_a_character_and_said(tmp_path: Path) -> None:
    """As pandas writes it where lines end in a line feed."""
    (tmp_path / "r.csv").write_bytes(b'text,label\na\rb,x\n"c\rd\r\ne",y\nf\r\rg,y\nlast,x\r\n')
    table = read_table(tmp_path / "r.csv")
    assert table.texts == ["a\rb", "c\rd\r\ne", "f\r\rg", "last"]
    assert "line 2 and 2 more: a carriage return" in " ".join(table.said)


def test_a_carriage_return_in_the_header_is_not_read_over(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b'text,label\ra,x\r"b\nc",y\r')
    with pytest.raises(DataError, match=r"r\.csv: line 1: "):
        read_table(tmp_path / "r.csv")


_LABELS = {
    "decimals": ([decimal.Decimal("1.00"), decimal.Decimal("2.50")], ["1", "2.5"]),
    "single precision": (pa.array([0.1, 2.5], pa.float32()), ["0.1", "2.5"]),
    "one number in two spellings": (["2.50", "2.5"], ["2.5", "2.5"]),
    "nothing and less": (["-0.0", "0"], ["0", "0"]),
    "truth": ([True, False], ["true", "false"]),
    "whole floats": ([1.0, 0.0], ["1", "0"]),
    "small numbers": (pa.array([1, 0], pa.int8()), ["1", "0"]),
}


@pytest.mark.parametrize("kind", sorted(_LABELS))
def test_labels_of_every_type(tmp_path: Path, kind: str) -> None:
    values, meant = _LABELS[kind]
    pq.write_table(pa.table({"text": AB, "label": values}), tmp_path / "r.parquet")
    assert read_table(tmp_path / "r.parquet").labels == meant


_REFUSED = {
    "Python dictionaries": ("r.jsonl", b"{'text': 'a'}\n", "write it with json.dumps"),
    "a model's code fence": ("r.json", b'```json\n[{"text":"a"}]\n```\n', "a code fence"),
    "JSON in JSON": ("r.jsonl", b'"{\\"text\\": \\"a\\"}"\n', "it was encoded twice"),
    "workbook": ("r.xlsx", b"PK\x03\x04", "save the sheet as CSV UTF-8"),
    "workbook under another name": (
        "r.csv",
        _zipped("[Content_Types].xml", "xl/workbook.xml"),
        "an Excel workbook",
    ),
    "zip of several": (
        "r.csv.zip",
        _zipped("a.csv", "b.csv"),
        r"holds 2 files \('a.csv', 'b.csv'\); unpack it",
    ),
    "zip without a format": ("r.zip", _zipped("a.csv"), "name the format inside"),
    "zip cut off": ("r.csv.zip", _zipped("a.csv")[:60], "not a whole compressed file"),
    "plain text": ("r.txt", b"a\nb\n", "one JSON object a line"),
    "texts with commas": ("r.csv", b"text\na, b\n", "line 2 has 2 fields.*need quotes"),
    "other names": ("r.csv", b"Text,Label\na,x\n", "Is 'Text' the text"),
    "splits in one object": (
        "r.json",
        b'{"train":[{"text":"a"}],"test":[{"text":"b"}]}',
        r"several lists of rows \('train', 'test'\)",
    ),
    "dates for labels": (
        "r.parquet",
        _parquet(text=pa.array(["a"]), label=pa.array([datetime.date(2026, 1, 1)])),
        "row 0: 'label' is a date; if dates are the labels, write them as text",
    ),
    "a dictionary for a label": ("r.jsonl", b'{"text":"a","label":{"value":"x"}}\n', "as label.value"),
    "JSON under another name": ("r.csv", b'[{"text":"a"}]', "rename it to .json"),
    "vectors that were cut for printing": (
        "r.csv",
        b'text,embedding\na,"[0.1 0.2 ... 0.3]"\n',
        "numbers were left out",
    ),
    "vectors in braces": ("r.csv", b'text,embedding\na,"{0.1,0.2}"\n', r"write it as \[0.1, 0.2\]"),
    "vectors without numbers": ("r.jsonl", b'{"text":"a","embedding":[]}\n', "line 1 holds no numbers"),
    "arrays of other formats": ("r.npz", b"PK", "numpy.save"),
    "tensors": ("r.safetensors", b"", "numpy.save"),
    "rows of other formats": ("r.avro", b"Obj", "write the rows as Parquet"),
    "a field too few beside one in quotes": (
        "r.csv",
        b'text,label,more\na,x,1\nb,y,2\na,"c,d"\n',
        "line 4 has 2 fields, the header has 3",
    ),
    "bytes that are none": ("r.parquet", _parquet(text=pa.array([b"\xff\xfe"])), "no UTF-8 text"),
    "mixed encodings": ("r.csv", "text\ncafé\n".encode() + b"caf\xe9\n", "line 3 is not UTF-8"),
    "packed twice": ("r.jsonl.gz", gzip.compress(gzip.compress(b"{}")), "packed with gzip twice"),
    "comments": ("r.jsonl", b'// mine\n{"text":"a"}\n', "comments are no JSON; take them out"),
    "a table as JSONL": ("r.jsonl", b"text,label\na,x\n", "if it is a table of CSV, rename it to .csv"),
    "no header": ("r.csv", b"I liked it,1\nI did not,0\n", "write a line of names above it"),
    "fewer values than names": (
        "r.json",
        b'{"columns":["text","label"],"data":[["a","x"],["b"]]}',
        "item 2 of 'data' holds 1 values, 'columns' 2 names",
    ),
    "a table of a web page": (
        "r.csv",
        b"\n<TABLE><tr><td>text</td></tr></TABLE>",
        "a web page and not the data",
    ),
    "line ends of two kinds": ("r.csv", b"text,label\ra,x\nb,y\n", "ends in a carriage return, others in a"),
    "rubbish behind an object": ("r.jsonl", b'{"text":"a"} ]\n', "line 1 is not JSON"),
}


@pytest.mark.parametrize(
    ("text", "label", "said"),
    [
        ("a &amp; b", "x", "texts with HTML entities, as &amp;: 1"),
        ("caf\u00c3\u00a9", "x", "texts with letters that were decoded wrongly"),
        ("lost \ufffd", "x", "texts with signs that stand for lost letters (U+FFFD): 1"),
        ("a", "1e0", "the labels '1', '1e0' are one number as text; kept apart"),
        ("a", "['x', 'y']", "looks like several; if rows have several labels, say so with --multi-label"),
        ("a", "1|1", "the label '1|1' looks like several"),
        ("a", "?", "the label '?', which looks like a missing value"),
    ],
)
def test_what_looks_wrong_is_said(tmp_path: Path, text: str, label: str, said: str) -> None:
    rows = [{"text": "Fish & chips; \u00c3rea, na\u00efve", "label": "1"}, {"text": text, "label": label}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(tmp_path / "r.jsonl")
    assert table.texts == [row["text"] for row in rows]
    assert table.labels == [row["label"] for row in rows]
    assert [line for line in table.said if said in line] == list(table.said) != []


def test_a_column_of_identifiers_is_said_to_be_none_of_labels(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("text,label\n" + "".join(f"t{i},id{i}\n" for i in range(10)))
    assert "10 labels for 10 rows; is the column one of labels?" in read_table(tmp_path / "r.csv").said[0]


@pytest.mark.parametrize("kind", sorted(_REFUSED))
def test_it_is_refused_with_the_mend(tmp_path: Path, kind: str) -> None:
    name, data, message = _REFUSED[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_preference_pairs_are_a_layout(tmp_path: Path) -> None:
    row = {"prompt": "Say hi.", "chosen": "Hi!", "rejected": "No."}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n")
    table = read_table(tmp_path / "r.jsonl")
    assert table.texts == ["Say hi.\nHi!\nNo."]
    assert table.others.take([0]) == [row]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_parts_of_nested_columns_are_named_with_dots(tmp_path: Path, ending: str) -> None:
    rows = [
        {"meta": {"kind": "x"}, "translation": {"en": "a", "de": "b"}, "answers": {"text": ["c", "d"]}},
        {"meta": {"kind": "y"}, "translation": {"en": "e", "de": "f"}, "answers": {"text": ["g"]}},
    ]
    path = tmp_path / f"rows{ending}"
    if ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    template = "{translation.en} {translation.de}\n{answers.text.0}"
    table = read_table(path, text=template, label="meta.kind", required=[template, "meta.kind"])
    assert table.texts == ["a b\nc", "e f\ng"]
    assert table.labels == ["x", "y"]
    assert table.fields() == [
        {"translation.en": "a", "translation.de": "b", "answers.text.0": "c"},
        {"translation.en": "e", "translation.de": "f", "answers.text.0": "g"},
    ]
    assert table.others.take([0]) == rows[:1]
    assert read_table(path, text="translation.de", required=["translation.de"]).texts == ["b", "f"]
    with pytest.raises(DataError, match=r"no value for 'answers\.text\.1'"):
        read_table(path, text="answers.text.1", required=["answers.text.1"])
    with pytest.raises(DataError, match=r"name a part of it, as translation\.(en|de)"):
        read_table(path, text="translation", required=["translation"])


def test_a_label_may_be_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("text,label\na,x\n")
    table = read_table(tmp_path / "r.csv", text="{label}: {text}")
    assert (table.texts, table.labels) == (["x: a"], ["x"])
    assert table.fields() == [{"label": "x", "text": "a"}]


def test_labels_that_differ_by_their_accents_encoding_are_said(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes("text,label\na,caf\u00e9\nb,cafe\u0301\nc,NA\n".encode())
    said = " ".join(read_table(tmp_path / "r.csv").said)
    assert "alike but for case, spaces or accents" in said
    assert "the label 'NA', which looks like a missing value" in said


def test_arrays_of_python_objects_and_of_no_width_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([[1], [1, 2]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects, which are never read"):
        read_table(tmp_path / "o.npy")
    np.save(tmp_path / "w.npy", np.zeros((4, 0), "f4"))
    with pytest.raises(DataError, match="4 rows hold no numbers"):
        read_table(tmp_path / "w.npy")


def test_a_last_field_that_is_the_beginning_of_another_is_said(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"text,label\na,positive\nb,posi")
    (said,) = read_table(tmp_path / "r.csv").said
    assert "line 3, the last, has no line end, and its 'label' 'posi' is the beginning of 'positive'" in said
    for whole in (b"text,label\na,positive\nb,posi\n", b"text,label\na,x\nb,x", b"text,label\na,x\nb,y"):
        (tmp_path / "r.csv").write_bytes(whole)
        assert not read_table(tmp_path / "r.csv").said


def test_large_whole_numbers_and_lists_in_lists_as_labels(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 2**70}, {"text": "b", "label": 2**70 + 1}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(tmp_path / "r.jsonl")
    assert table.labels == [str(2**70), str(2**70 + 1)]
    assert not table.said
    (tmp_path / "r.jsonl").write_text(json.dumps({"text": "a", "label": [["x"], ["y"]]}))
    with pytest.raises(DataError, match="'label' has lists within its list"):
        read_table(tmp_path / "r.jsonl", multi_label=True)
