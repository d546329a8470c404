"""synalign embed: what it writes, prints and refuses."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models

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
