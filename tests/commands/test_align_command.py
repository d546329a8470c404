"""synalign align on files with embeddings: what it writes, prints and refuses."""

import argparse
import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from synalign_jax.commands import align
from synalign_jax.core.checks import InputError
from synalign_jax.pipeline.data.errors import DataError

DISTRIBUTION = ("--weights", "distribution")  # labels of these rows mean nothing


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(40, 4))
    pool = rng.normal(size=(120, 4)) + np.where(np.arange(120)[:, None] % 3, 1.5, 0.0)
    paths = tmp_path / "real.jsonl", tmp_path / "pool.jsonl"
    for path, rows in zip(paths, (real, pool), strict=True):
        lines = [
            {"text": f"row {i}", "label": "ab"[i % 2], "embedding": row.tolist()}
            for i, row in enumerate(rows)
        ]
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return paths


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    align.register(parser.add_subparsers())
    options = parser.parse_args(["align", *map(str, arguments)])
    return options.run(options)


def test_weights_and_rows_are_written(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    real, pool = files
    out = tmp_path / "out"
    assert _run("--real", real, "--synthetic", pool, "--out", out, "--size", 30, *DISTRIBUTION) == 0
    weights = np.load(out / "weights.npy")
    mixture = json.loads((out / "mixture.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(weights.sum(), mixture["total_weight"], rtol=1e-5)
    np.testing.assert_allclose(mixture["share"], mixture["total_weight"] / 40, rtol=1e-5)
    distribution = np.load(out / "distribution.npy")
    np.testing.assert_allclose(distribution.sum(), 1.0, rtol=1e-5)
    rows = [json.loads(line) for line in (out / "resampled.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["index"] for row in rows}) == 30
    for row in rows:
        assert row["text"] == f"row {row['index']}"
        assert row["weight"] == pytest.approx(weights[row["index"]])
    assert sum(row["label"] == "a" for row in rows) == 15
    numbers = json.loads((out / "alignment.json").read_text(encoding="utf-8"))
    assert numbers["ess"] == pytest.approx(1.0 / np.sum(distribution.astype("f8") ** 2))
    assert [label["label"] for label in numbers["labels"]] == ["a", "b"]
    assert sum(label["pool_rows"] for label in numbers["labels"]) == 120
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Is it like the real text?" in report
    assert report.count("<span>drawn</span>") == 30
    printed = capsys.readouterr()
    assert "Memory: method exact" in printed.err
    for fact in ("effective sample size", "converged"):
        assert fact in printed.out
    # One distance, in one unit, in the terminal and on the page.
    for line in ("synthetic as generated", "weighted", "real rows themselves"):
        (value,) = re.findall(rf"^  {line} +(\S+)", printed.out, re.MULTILINE)
        assert f"<dd>{value}" in report


def test_npy_files_have_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for name, rows in (("real", 30), ("pool", 60)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(rows, 3)).astype("f4"))
    arguments = (
        "--real",
        tmp_path / "real.npy",
        "--synthetic",
        tmp_path / "pool.npy",
        "--out",
        tmp_path / "out",
    )
    assert _run(*arguments, "--regularization", "0.01") == 0
    assert np.load(tmp_path / "out/weights.npy").shape == (60,)
    report = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Where does it lie?" in report
    # A given penalty holds nothing out, so there is no honest distance to judge by.
    assert "Is it like the real text?" not in report
    assert "spectral power, regularisation gamma 0, 0.01" in " ".join(capsys.readouterr().out.split())
    assert _run(*arguments, "--spectral-power", "1") == 0
    assert "spectral power, regularisation gamma 1, " in " ".join(capsys.readouterr().out.split())


def test_what_cannot_work_is_refused_before_solving(files: tuple[Path, Path], tmp_path: Path) -> None:
    real, pool = files
    arguments = ("--real", real, "--synthetic", pool, "--out", tmp_path / "out")
    with pytest.raises(InputError, match="--size: 121; the pool has 120 rows"):
        _run(*arguments, "--size", 121)
    with pytest.raises(InputError, match="--regularization: 'much'"):
        _run(*arguments, "--regularization", "much")
    with pytest.raises(InputError, match="--spectral-power: 'more'"):
        _run(*arguments, "--spectral-power", "more")
    real.write_text(real.read_text(encoding="utf-8").replace('"label"', '"kind"'), encoding="utf-8")
    with pytest.raises(DataError, match=r"pool.jsonl: no column 'kind'"):
        _run(*arguments, "--label", "kind")
    with pytest.raises(InputError, match="is a file; name a folder"):
        _run("--real", real, "--synthetic", pool, "--out", real)


def test_what_texts_and_labels_hold_cannot_act_in_the_report(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    real, pool = files
    hostile = "<script>alert(1)</script>"
    for path in files:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            line.update(text=hostile, label=hostile + line["label"])
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert _run("--real", real, "--synthetic", pool, "--out", tmp_path / "out") == 0
    report = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert hostile not in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report


def test_a_full_disk_leaves_what_an_earlier_call_wrote(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, pool = files
    out = tmp_path / "out"
    arguments = ("--real", real, "--synthetic", pool, "--out", out)
    assert _run(*arguments) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        _run(*arguments, "--seed", 1)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_verdict_opens_terminal_and_report_and_a_column_groups_the_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rng = np.random.default_rng(1)
    for name, rows in (("real", 40), ("pool", 160)):
        labels = rng.integers(0, 2, rows)
        vectors = rng.normal(size=(rows, 4)) + np.where(labels[:, None], 0.8, -0.8)
        lines = [
            {"text": f"row {i}", "label": "ab"[labels[i]], "embedding": vectors[i].tolist(), "source": i % 3}
            for i in range(rows)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    paths = (
        "--real",
        tmp_path / "real.jsonl",
        "--synthetic",
        tmp_path / "pool.jsonl",
        "--out",
        tmp_path / "out",
    )
    with pytest.raises(ValueError, match="no column 'origin' for --group"):
        _run(*paths, "--group", "origin")
    assert _run(*paths, "--group", "source") == 0
    mixture = json.loads((tmp_path / "out/mixture.json").read_text(encoding="utf-8"))
    assert mixture["decision"] in ("use", "use at this share")
    assert any(c["name"] == "aligned, by group" for c in mixture["candidates"])
    assert mixture["verdict"] in capsys.readouterr().out
    report = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Should I use it, and how?" in report
    assert "weights.npy" in report
    rows = (tmp_path / "out/resampled.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) <= round(mixture["total_weight"])
