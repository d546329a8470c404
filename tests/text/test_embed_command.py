"""synalign embed: what it writes, prints and refuses."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from processes import free_address

from synalign_jax.commands import embed
from synalign_jax.text import Encoder


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    embed.register(parser.add_subparsers())
    options = parser.parse_args(["embed", *map(str, arguments)])
    return options.run(options)


def test_vectors_are_written_and_long_texts_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("SYNALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("synalign_jax.text.keep_compiled", lambda folder: None)
    model = tiny_models.make(tmp_path / "tiny", "bge")
    texts = ["a film", "a story " * 100, "a film"]
    data, out = tmp_path / "data.jsonl", tmp_path / "vectors.npy"
    data.write_text("\n".join(json.dumps({"body": text}) for text in texts), encoding="utf-8")
    for _ in range(2):
        assert _run(data, "--out", out, "--encoder", model, "--text", "body") == 0
        np.testing.assert_allclose(np.load(out), Encoder.from_pretrained(model).embed(texts), atol=1e-5)
        printed = capsys.readouterr().out
        assert "3 rows of 32 float32, by tiny@" in printed
        assert "1 texts are longer" in printed


@pytest.mark.parametrize(
    ("out", "match"), [("vectors.csv", r"does not end in \.npy"), ("nowhere/v.npy", "there is no folder")]
)
def test_a_wrong_out_is_refused_before_any_work(tmp_path: Path, out: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        _run(tmp_path / "data.jsonl", "--out", tmp_path / out)


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 3])
def test_each_of_two_processes_embeds_its_part_and_the_first_joins_them(tmp_path: Path, files: int) -> None:
    model = tiny_models.make(tmp_path / "tiny", "bge")
    texts = [
        f"{a} film of {b} scenes " + "and more " * (100 * (b == 7)) for a in ("a", "no") for b in range(23)
    ]
    (tmp_path / "rows").mkdir()
    for number in range(files):
        lines = (json.dumps({"text": text}) for text in texts[number::files])
        (tmp_path / f"rows/{number}.jsonl").write_text("\n".join(lines))
    address = free_address()
    command = [sys.executable, "-m", "synalign_jax", "embed", "rows", "--encoder", str(model)]
    joined = ["--out", "both.npy", "--coordinator", address, "--processes", "2", "--process"]
    workers = [
        subprocess.Popen(
            [*command, *words],
            cwd=tmp_path, env={**os.environ, "SYNALIGN_CACHE": str(tmp_path / name)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for words, name in (
            (["--out", "alone.npy"], "alone"),
            ([*joined, "0"], "first"),
            ([*joined, "1"], "second"),
        )
    ]  # fmt: skip
    try:
        heard = [worker.communicate(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0, 0], heard
    assert "46 rows of 32 float32" in heard[1][0]
    assert "2 texts are longer" in heard[1][0]
    assert ("3 files, of which each process reads its own" in heard[1][0]) == (files == 3)
    assert "rows of" not in heard[2][0], "the first alone says what is there"
    np.testing.assert_allclose(np.load(tmp_path / "both.npy"), np.load(tmp_path / "alone.npy"), atol=1e-5)
    assert not list(tmp_path.glob("*.part*")), "the parts are gone"
