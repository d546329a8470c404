"""--encoder, --encoder-kind, --prompt and their kin: the same in every command that embeds, and in a run."""

import argparse
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_static

from synalign_jax.api.wiring import open_embedder
from synalign_jax.cli import main
from synalign_jax.commands import align, embed, evaluate, explore
from synalign_jax.commands.rows import open_encoder
from synalign_jax.pipeline.config import Config, ConfigError
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.text import Embedder, Encoder, ModelError, StaticEncoder

REQUIRED = {
    align: ["align", "--real", "r", "--synthetic", "s", "--out", "o"],
    explore: ["explore", "d", "--rounds", "1", "--out", "o"],
    evaluate: ["evaluate", "--real", "r", "--synthetic", "s"],
    embed: ["embed", "d", "--out", "o.npy"],
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("synalign_jax.text.keep_compiled", lambda folder: None)


def opened(command: ModuleType, *words: object) -> Embedder:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return open_encoder(parser.parse_args([*REQUIRED[command], *map(str, words)]))


@pytest.mark.parametrize("command", REQUIRED)
def test_every_command_takes_them(command: ModuleType, tmp_path: Path) -> None:
    table = tiny_static.make(tmp_path / "table", "potion")
    found = opened(command, "--encoder", table, "--prompt", "the film: ", "--truncate-dim", 5)
    assert isinstance(found, StaticEncoder)
    expected = StaticEncoder.from_pretrained(table, truncate_dim=5).embed(["the film: a story"])
    np.testing.assert_array_equal(found.embed(["a story"]), expected)
    network = tiny_models.make(tmp_path / "network", "minilm")
    found = opened(
        command, "--encoder", network, "--prompt", "query", "--max-tokens", 9, "--dtype", "bfloat16"
    )
    assert isinstance(found, Encoder)
    assert (found.dtype, found.max_tokens) == ("bfloat16", 9)
    with pytest.raises(ModelError, match="not static embeddings"):
        opened(command, "--encoder", network, "--encoder-kind", "static")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--encoder-kind", "openai", "--encoder", "m"], "needs the model's name .* and --encoder-url"),
        (["--encoder-kind", "openai", "--encoder-url", "http://127.0.0.1:9"], "needs the model's name"),
        (["--encoder-url", "http://127.0.0.1:9"], "--encoder-url: it is for --encoder-kind openai"),
        (["--max-tokens", "0"], "--max-tokens: 0; give 1 or more"),
        (["--encoder-kind", "static", "--dtype", "bfloat16"], "--dtype: bfloat16 is for kind flax"),
        (["--prompt", "pasage"], "'pasage' is none of all-MiniLM-L6-v2's prompts"),
        (
            ["--encoder-kind", "openai", "--encoder", "m", "--encoder-url", "http://h", "--max-tokens", "8"],
            "--max-tokens: kind openai leaves that to the endpoint",
        ),
        (
            [
                "--encoder-kind",
                "openai",
                "--encoder",
                "m",
                "--encoder-url",
                "http://h",
                "--encoder-key-env",
                "NO",
            ],
            "the environment variable NO is not set",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], match: str) -> None:
    with pytest.raises((ConfigError, ModelError), match=match):
        opened(explore, *words)


def test_a_kind_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match="pip install sentence-transformers"):
        opened(explore, "--encoder-kind", "sentence-transformers", "--encoder", "m")


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Its vector of a text is the text's length and its number of spaces."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            rows = [{"embedding": [len(t), t.count(" ")], "index": i} for i, t in enumerate(texts)]
            data = json.dumps({"data": rows}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_gets_the_words_before_every_text(endpoint: str, tmp_path: Path) -> None:
    data, out = tmp_path / "rows.jsonl", tmp_path / "vectors.npy"
    data.write_text("\n".join(json.dumps({"text": text}) for text in ("ab", "a b c")), encoding="utf-8")
    words = ["--encoder-kind", "openai", "--encoder", "m", "--encoder-url", endpoint, "--prompt", "q: "]
    assert main(["embed", str(data), "--out", str(out), *words]) == 0
    np.testing.assert_array_equal(np.load(out), [[5, 1], [8, 3]])


def test_explore_from_texts_with_static_embeddings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = tiny_static.make(tmp_path / "table", "potion")
    data, out = tmp_path / "rows.jsonl", tmp_path / "clusters.jsonl"
    data.write_text("\n".join(json.dumps({"text": t}) for t in tiny_models.TEXTS[3:]), encoding="utf-8")
    words = ["--rounds", "2", "--out", str(out), "--encoder", str(table)]
    assert main(["explore", str(data), *words]) == 0
    assert f"texts embedded by {table}" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 2


def test_a_table_is_not_fine_tuned(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = tiny_static.make(tmp_path / "table", "potion")
    for name in ("real", "pool"):
        rows = [{"text": f"{name} film {i}", "label": i % 2} for i in range(30)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["--real", tmp_path / "real.jsonl", "--synthetic", tmp_path / "pool.jsonl", "--encoder", table]
    assert main(["evaluate", *map(str, words), "--students", "encoder"]) == 1
    assert "is no network that is fine-tuned here" in capsys.readouterr().err


def config(tmp_path: Path, **encoder: Any) -> Config:
    run, llm = {"folder": str(tmp_path / "run")}, {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    sections = {"run": run, "data": {"source": "rows.jsonl"}, "llm": llm, "encoder": encoder}
    return parse_config(sections, name="my.toml", base=tmp_path)


def test_a_run_takes_them_in_its_config(tmp_path: Path) -> None:
    table = tiny_static.make(tmp_path / "table", "potion")
    settings = config(tmp_path, kind="static", model=str(table), prompt="the film: ", truncate_dim=5)
    expected = StaticEncoder.from_pretrained(table, prompt="the film: ", truncate_dim=5)
    assert open_embedder(settings.encoder).identity == expected.identity
    with pytest.raises(ConfigError, match=r"my\.toml: \[encoder\] dtype: bfloat16 is for kind flax"):
        config(tmp_path, kind="static", model=str(table), dtype="bfloat16")
    with pytest.raises(
        ConfigError, match=r"\[encoder\] truncate_dim: kind openai leaves that to the endpoint"
    ):
        config(tmp_path, kind="openai", model="m", base_url="http://h", truncate_dim=5)
