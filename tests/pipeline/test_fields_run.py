"""Rows of more than one text, and of more than one label, from a file to the report."""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from stub_server import Stub

import synalign_jax as sa
from synalign_jax.cli import main
from synalign_jax.pipeline.data.tables import read_table

WORDS = [
    "film", "story", "cast", "scene", "humour", "music", "camera", "pace", "ending", "hero", "plot", "mood",
    "light", "city", "train", "winter"
]  # fmt: skip


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    server = Stub(tmp_path)
    yield server
    server.stop()


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.sample(WORDS, count))


def _pairs(rng: random.Random, tone: str) -> dict:
    return {"query": f"a {tone} {_words(rng, 4)}", "passage": f"a {tone} {_words(rng, 6)} {rng.random():.3f}"}


def _instructions(rng: random.Random, tone: str) -> dict:
    return {
        "instruction": f"a {tone} {_words(rng, 6)}",
        "input": rng.choice(["", _words(rng, 3)]),
        "output": f"a {tone} {_words(rng, 6)}",
    }


def _texts(rng: random.Random, tone: str) -> dict:
    return {"text": f"a {tone} {_words(rng, 6)}"}


def _chats(rng: random.Random, tone: str) -> dict:
    return {
        "conversations": [
            {"from": "human", "value": f"a {tone} {_words(rng, 6)}"},
            {"from": "gpt", "value": f"a {tone} {_words(rng, 6)}"},
        ]
    }


_KINDS = {"pairs": _pairs, "instructions": _instructions, "many labels": _texts, "chats": _chats}
_SETTINGS = {
    "pairs": {
        "text": "{query}\n{passage}",
        "fields": {"query": "what is looked for", "passage": "an answer"},
    },
    "instructions": {},  # a layout that is found
    "many labels": {"multi_label": True},
    "chats": {},
}


def _config(folder: Path, kind: str, llm: dict) -> dict:
    rng = random.Random(0)
    with (folder / "real.jsonl").open("w") as file:
        for i in range(96):
            label: object = ["negative", "positive"][i % 2]
            tone = ["dull and tiresome", "warm and funny"][i % 2]
            if kind == "many labels":
                label = [["negative"], ["negative", "long"], ["positive"], ["positive", "long"]][i % 4]
            file.write(json.dumps({"id": i, **_KINDS[kind](rng, tone), "label": label}) + "\n")
    return {
        "run": {"folder": folder / "out"},
        "data": {"source": str(folder / "real.jsonl"), "few_shot": 32, "test_rows": 24, **_SETTINGS[kind]},
        "llm": llm,
        "explore": {"rounds": 2, "neighbors": 1},
        "reason": {"preset": "sst2"},
        "generate": {"rows": 12, "rows_per_call": 3, "form": "json", "of_the_kind": False},
        "resample": {"formats": ["csv"]},
        "evaluate": {"seeds": 2},
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_each_kind_from_file_to_report(tmp_path: Path, stub: Stub, kind: str) -> None:
    settings = _config(tmp_path, kind, {"base_url": stub.address, "model": "stub"})
    found = sa.run(settings, progress=False)
    names = {"pairs": ["query", "passage"], "instructions": ["instruction", "input", "output"]}.get(kind, [])
    out = tmp_path / "out"
    assert found.report.is_file()
    lines = [json.loads(line) for line in (out / "weighted.jsonl").read_text().splitlines()]
    table = pq.read_table(out / "weighted.parquet").to_pylist()
    with (out / "weighted.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(lines) == len(table) == len(cells) == found.weighted.num_rows >= 4
    for line, row, cell in zip(lines, table, cells, strict=True):
        assert line["text"] == row["text"] == cell["text"]
        if kind == "chats":
            turns = line["conversations"]
            assert turns == row["conversations"] == json.loads(cell["conversations"])
            assert [turn["role"] for turn in turns] == ["user", "assistant"]
            assert line["text"] == "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
        assert (
            [line[name] for name in names] == [row[name] for name in names] == [cell[name] for name in names]
        )
        if names:
            assert line["text"] == "\n".join(line[name] for name in names if line[name])
    # What comes out is what `align` and `evaluate` read again.
    again = read_table(out / "weighted.jsonl", multi_label=kind == "many labels")
    if kind == "many labels":
        assert again.label_sets is not None
        assert {"positive", "negative", "long"} == {one for labels in again.label_sets for one in labels}
        sets = [line["label"] for line in lines]
        assert sets == [row["label"] for row in table] == list(map(list, again.label_sets))
        for ending in ("csv", "parquet"):
            read = read_table(out / f"weighted.{ending}", multi_label=True).label_sets
            assert read is not None
            assert list(map(list, read)) == sets
        main(["push", str(out), "--local", str(tmp_path / "pushed")])
        loaded = load_dataset(
            str(tmp_path / "pushed"), "weighted", split="train", cache_dir=str(tmp_path / "c")
        )
        assert list(loaded["label"]) == sets  # pyright: ignore[reportArgumentType,reportCallIssue,reportIndexIssue]
        mixture = json.loads((out / "mixture.json").read_text())
        assert {one["label"] for one in mixture["labels"]} == {"positive", "negative", "long"}
        assert "each judged by itself" in mixture["verdict"]
        students = json.loads((out / "evaluation.json").read_text())["students"]
        assert students["classes"] == ["long", "negative", "positive"]
        assert students["scores"][0]["micro_f1"] is not None
    shown = [body for body in found.report.read_text().split("<") if WORDS[0] in body]
    assert shown
