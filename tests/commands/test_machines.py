"""Commands whose numbers two processes share, against the same command alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import free_address

from synalign_jax.cli import main

WORDS = (
    "red",
    "green",
    "blue",
    "old",
    "new",
    "big",
    "small",
    "cat",
    "dog",
    "bird",
    "tree",
    "road",
    "hill",
    "lake",
    "sea",
)


def start(folder: Path, words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "synalign_jax", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def shared(folder: Path, words: list[str], processes: int = 2) -> list[tuple[str, str]]:
    """What processes that were started together print, each on stdout and stderr."""
    address = free_address()
    found = ["--coordinator", address, "--processes", str(processes), "--process"]
    workers = [start(folder, [*words, *found, str(i)]) for i in range(processes)]
    try:
        heard = [worker.communicate(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * processes, heard
    return heard


def write(path: Path, rows: int, shift: float) -> None:
    rng = np.random.default_rng(rows)
    labels = rng.integers(0, 2, rows)
    vectors = rng.normal(size=(rows, 12)).astype(np.float32)
    vectors[:, 0] += 2 * labels + shift
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"label": labels, "embedding": column}), path)


def assert_near(folder: Path, one: np.ndarray, two: np.ndarray, gamma: float) -> None:
    # The objective is 2 gamma m strongly convex, so its gap bounds how far weights lie from the optimum.
    gaps = [json.loads((folder / f / "alignment.json").read_text())["gap"] for f in ("alone", "both")]
    assert np.linalg.norm(one - two) <= sum(np.sqrt(max(gap, 1e-9) / (gamma * len(one))) for gap in gaps)


def run_alone(folder: Path, words: list[str]) -> None:
    alone = start(folder, words)
    _, heard = alone.communicate(timeout=300)
    assert alone.returncode == 0, heard


def test_one_process_alone_joins_and_leaves(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    common = ["explore", "rows.npy", "--rounds", "5", "--acquisition", "max_variance", "--out"]
    shared(tmp_path, [*common, "joined.jsonl"], 1)
    assert (
        main([*(str(tmp_path / w) if w == "rows.npy" else w for w in common), str(tmp_path / "a.jsonl")]) == 0
    )
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "joined.jsonl").read_text()


@pytest.mark.slow
def test_align_in_two_processes_gives_the_weights_of_one(tmp_path: Path) -> None:
    write(tmp_path / "real.parquet", 60, 0.0)
    write(tmp_path / "pool" / "part-0.parquet", 300, 1.0)
    write(tmp_path / "pool" / "part-1.parquet", 301, 1.0)
    words = ["align", "--real", "real.parquet", "--synthetic", "pool", "--no-labels", "--method", "landmarks"]
    words += ["--regularization", "0.01", "--spectral-power", "0", "--out"]
    run_alone(tmp_path, [*words, "alone"])
    (first, _), (second, _) = shared(tmp_path, [*words, "both"])
    assert "report.html" in first
    assert "report.html" not in second
    one, two = (np.load(tmp_path / folder / "distribution.npy") for folder in ("alone", "both"))
    assert one.max() > 2.0 / len(one), "even weights would show nothing"
    assert_near(tmp_path, one, two, 0.01)
    assert (tmp_path / "both" / "report.html").exists()


@pytest.mark.slow
def test_each_process_reads_its_own_files_of_texts_labels_and_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    (tmp_path / "pool").mkdir()
    first: pa.Table | None = None
    for name, rows in {"real": 80, "pool/a": 150, "pool/b": 0, "pool/c": 170}.items():
        labels = rng.integers(0, 2, rows)
        vectors = rng.normal(size=(rows, 12)).astype(np.float32)
        vectors[:, 0] += 2 * labels
        texts = [f"row {i} of {name}, {rng.integers(9**9)} and {rng.integers(9**9)}" for i in range(rows)]
        table = pa.table(
            {
                "text": pa.array(texts, pa.string()),
                "label": pa.array([f"label {label}" for label in labels], pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 12),
                "more": pa.array(range(rows), pa.int64()),
            }
        )
        if name == "pool/c" and first is not None:  # five rows of another file, and one that says nothing
            blank = table.slice(0, 1).set_column(0, "text", pa.array([" "]))
            table = pa.concat_tables([first.slice(0, 5), blank, table.slice(6)])
        first = table if name == "pool/a" else first
        pq.write_table(table, tmp_path / f"{name}.parquet")
    words = ["align", "--real", "real.parquet", "--synthetic", "pool", "--duplicates", "drop"]
    words += ["--method", "landmarks", "--regularization", "0.01", "--spectral-power", "0", "--out"]
    run_alone(tmp_path, [*words, "alone"])
    shared(tmp_path, [*words, "both"])
    one, two = (np.load(tmp_path / folder / "distribution.npy") for folder in ("alone", "both"))
    assert not np.concatenate([one[150:156], two[150:156]]).any()
    assert one.max() > 1.5 / len(one), "even weights would show nothing"
    assert_near(tmp_path, one, two, 0.01)
    assert (tmp_path / "both" / "report.html").exists()
    assert list(tmp_path.rglob(".synalign-read*")) == []


@pytest.mark.slow
def test_texts_are_embedded_by_one_process_each_and_explored_by_both(tmp_path: Path) -> None:
    texts = [f"the {a} {b} by the {c}" for a in WORDS[:7] for b in WORDS[7:12] for c in WORDS[12:15]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    common = ["explore", "rows.jsonl", "--rounds", "6", "--out"]
    run_alone(tmp_path, [*common, "alone.jsonl"])
    shared(tmp_path, [*common, "both.jsonl"])
    one, two = (
        [json.loads(line)["rows"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("alone.jsonl", "both.jsonl")
    )
    assert len(one) == 6
    assert one == two


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["--coordinator", "host:1"], "give all three"),
        (["--coordinator", "host:1", "--processes", "2", "--process", "2"], "count from 0 to 1"),
        (["--distributed", "--process", "1"], "leave out --coordinator"),
    ],
)
def test_settings_that_name_no_process(
    settings: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", "rows.npy", "--rounds", "1", "--out", "clusters.jsonl", *settings]) == 1
    assert named in capsys.readouterr().err
