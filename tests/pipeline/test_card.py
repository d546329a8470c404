"""A data set with a card: read back by `datasets`, uploaded through the face of the hub's own client."""

import json
from pathlib import Path
from unittest.mock import create_autospec

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi

from synalign_jax.pipeline.card import push_dataset, write_dataset
from synalign_jax.pipeline.data.errors import DataError


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "done").mkdir(parents=True)
    rows = [
        {"index": i, "text": f"row {i}", "label": "ab"[i % 2], "model": "m|<script>", "prompt_hash": "f" * 16}
        for i in range(10)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "weighted.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:5]), folder / "aligned.parquet")
    alignment = {"mmd2_before": 0.01, "mmd2_after": 0.002, "noise_band": 0.001, "ess": 6.0}
    (folder / "alignment.json").write_text(json.dumps(alignment), encoding="utf-8")
    fields = [{"name": name, "column": name} for name in ("question", "answer")]
    evaluation = {"before": 0.1, "after": 0.02, "resampled": None, "real_band": [0.001, 0.002, 0.003]}
    for name, value in {
        "mixture": {"verdict": "Use these rows with the weights (aligned)."},
        "fields": {"fields": fields},
        "evaluation": {"test_rows": 20, "mmd2": evaluation},
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    facts = {"facts": {"rejected": {"repeats an earlier row": 3}}, "warnings": []}
    (folder / "done/generate.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_the_folder_is_what_load_dataset_reads(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write_dataset(run_folder, tmp_path / "out", licence="cc-by-4.0", title="me/rows")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    aligned = datasets.load_dataset(str(target), "aligned", split="train", cache_dir=str(tmp_path / "c"))
    weighted = datasets.load_dataset(str(target), "weighted", split="train", cache_dir=str(tmp_path / "c"))
    assert aligned["text"][:] == [f"row {i}" for i in range(5)]
    assert len(weighted) == 10
    card = (target / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0"
    assert [part["config_name"] for part in head["configs"]] == ["aligned", "weighted"]
    assert "<script>" not in card
    for said in (
        "| a | 5 | 3 |",
        "a row's fields: question, answer",
        "Use these rows with the weights",
        "as made, 0.02 weighted, none drawn; real rows among themselves 0.001 to 0.003",
        "repeats an earlier row | 3 |",
        "noise band 0.001",
        "`ffff",
        "Not to be used for",
    ):
        assert said in card


def test_pushing_makes_the_repository_and_uploads_the_folder(run_folder: Path, tmp_path: Path) -> None:
    hub = create_autospec(HfApi, instance=True)
    address = push_dataset(run_folder, "me/rows", tmp_path / "out", api=hub)
    assert address.endswith("/datasets/me/rows")
    hub.create_repo.assert_called_once_with(
        repo_id="me/rows", repo_type="dataset", private=True, exist_ok=True
    )
    assert hub.upload_folder.call_args.kwargs["folder_path"] == str(tmp_path / "out")
    hub.upload_folder.side_effect = OSError("401 Unauthorized")
    with pytest.raises(DataError, match=r"the hub refused .*hf auth login"):
        push_dataset(run_folder, "me/rows", tmp_path / "out", api=hub)
    with pytest.raises(DataError, match="give OWNER/NAME"):
        push_dataset(run_folder, "rows", tmp_path / "out", api=hub)


def test_a_pool_that_was_aligned_has_a_card_too(tmp_path: Path) -> None:
    rows = [{"index": i, "weight": 0.5, "text": f"row {i}", "label": "a", "id": i} for i in range(3)]
    (tmp_path / "resampled.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    target = write_dataset(tmp_path, tmp_path / "out")
    assert pq.read_table(target / "data/aligned.parquet").to_pylist() == [
        {"text": r["text"], "index": r["index"], "weight": 0.5, "label": "a", "id": r["id"]} for r in rows
    ]
    with pytest.raises(DataError, match="neither a finished run"):
        write_dataset(tmp_path / "out", tmp_path / "again")
