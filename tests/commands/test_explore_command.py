"""synalign explore, on files."""

import argparse
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from synalign_jax.commands import explore as command
from synalign_jax.pipeline.data.errors import DataError


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return parser.parse_args(["explore", *words])


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(60):
            row = {"text": f"row {i} é", "label": "ab"[i % 2], "embedding": rng.normal(size=5).tolist()}
            file.write(json.dumps(row) + "\n")
    return path


def test_clusters_and_picture_are_written(rows, tmp_path, capsys) -> None:
    out = tmp_path / "clusters.jsonl"
    options = arguments(str(rows), "--rounds", "4", "--neighbors", "2", "--by-label", "--out", str(out))
    assert options.run(options) == 0
    clusters = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [c["label"] for c in clusters] == ["a"] * 4 + ["b"] * 4
    for cluster in clusters:
        assert cluster["texts"] == [f"row {i} é" for i in cluster["rows"]]
        assert {"ab"[i % 2] for i in cluster["rows"]} == {cluster["label"]}
    root = ET.parse(out.with_suffix(".svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "8 clusters of 3 rows over a pool of 60" in root.attrib["aria-label"]
    assert "8 clusters of 3 rows from 60" in capsys.readouterr().out


def test_vectors_alone_and_a_picture_elsewhere(tmp_path, capsys) -> None:
    np.save(tmp_path / "pool.npy", np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32))
    options = arguments(
        str(tmp_path / "pool.npy"), "--rounds", "40", "--neighbors", "0", "--project", "2",
        "--acquisition", "max_variance", "--picture", str(tmp_path / "p.svg"),
        "--out", str(tmp_path / "c.jsonl"),
    )  # fmt: skip
    assert options.run(options) == 0
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == 12
    assert (tmp_path / "p.svg").exists()
    assert "rows exhausted" in capsys.readouterr().out


def test_missing_columns_are_named(rows, tmp_path) -> None:
    options = arguments(
        str(rows), "--rounds", "1", "--by-label", "--label", "topic", "--out", str(tmp_path / "c.jsonl")
    )
    with pytest.raises(DataError, match="'topic'"):
        options.run(options)
    options = arguments(
        str(rows), "--rounds", "1", "--text", "t", "--embedding", "e", "--out", str(tmp_path / "c.jsonl")
    )
    with pytest.raises(DataError, match="no column 't'; the columns are 'text', 'label', 'embedding'"):
        options.run(options)


def test_help_shows_an_example(capsys) -> None:
    with pytest.raises(SystemExit):
        arguments("--help")
    assert "synalign explore reviews.csv --rounds 20" in capsys.readouterr().out
