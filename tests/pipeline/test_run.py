"""The whole job against a server whose answers depend on the request alone, and the real encoder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stub_server import Stub

from synalign_jax.pipeline.folder import SealedError, StageView
from synalign_jax.pipeline.run import STAGES

CONFIG = """
[run]
folder = "out"
[data]
source = "rotten_tomatoes"
few_shot = 24
test_rows = 40
ceiling_rows = 20
[llm]
base_url = "{address}"
model = "stub"
concurrency = 4
[explore]
rounds = 3
neighbors = 1
[reason]
preset = "sst2"
[generate]
rows = 24
rows_per_call = 3
[evaluate]
seeds = 2
"""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    server = Stub(tmp_path, delay=0.05)
    yield server
    server.stop()


def _synalign(folder: Path, *arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "SYNALIGN_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", "synalign_jax", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    process = _synalign(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _rows(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / "out" / f"{name}.parquet").to_pylist()


def _place(folder: Path, address: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "run.toml").write_text(CONFIG.format(address=address))


def test_the_whole_job(tmp_path: Path, stub: Stub) -> None:
    _place(tmp_path, stub.address)
    done = _run(tmp_path, "run", "run.toml")
    assert done.returncode == 0, done.stderr
    assert "few-shot real only" in done.stdout
    assert "out/report.html" in done.stdout
    synthetic, weighted, aligned = (_rows(tmp_path, name) for name in ("synthetic", "weighted", "aligned"))
    assert Counter(row["label"] for row in synthetic) == {"negative": 12, "positive": 12}
    weights = np.load(tmp_path / "out" / "weights.npy")
    assert weights.min() >= 0
    mixture = json.loads((tmp_path / "out" / "mixture.json").read_text())
    np.testing.assert_allclose(weights.sum(), mixture["total_weight"], atol=1e-4)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "distribution.npy").sum(), 1, atol=1e-6)
    assert mixture["verdict"] in done.stdout
    assert [row["text"] for row in weighted] == [row["text"] for row in synthetic]
    assert {row["index"] for row in aligned} <= set(range(24))
    few_shot = _rows(tmp_path, "few_shot")
    for row in aligned:
        assert {few_shot[i]["label"] for i in row["demonstrations"]} == {row["label"]}
        # Rows of the trial were asked for before there were attributes.
        assert set(json.loads(row["attributes"])) in (
            set(),
            {"subject", "style", "tone", "structure", "length"},
        )
    lines = [json.loads(line) for line in (tmp_path / "out" / "aligned.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [row["text"] for row in aligned]

    asked = stub.requests()
    again = _run(tmp_path, "run", "run.toml")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert stub.requests() == asked, "a finished run asks nothing"

    (tmp_path / "run.toml").write_text(CONFIG.format(address=stub.address).replace("rows = 24", "rows = 30"))
    refused = _run(tmp_path, "run", "run.toml")
    assert refused.returncode == 1
    assert "generate.rows: 24 -> 30" in refused.stderr

    repeated = _run(tmp_path, "evaluate", "out", "--seeds", "3")
    assert repeated.returncode == 0, repeated.stderr
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["students"]["seeds"] == 3
    assert stub.requests() == asked


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_many_moments_the_run_ends_with_the_rows_of_an_undisturbed_one(
    tmp_path: Path, stub: Stub, kills: int
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    _place(undisturbed, stub.address)
    start = time.monotonic()
    assert _run(undisturbed, "run", "run.toml").returncode == 0
    duration = time.monotonic() - start
    asked = Counter(stub.requests())
    assert set(asked.values()) == {1}

    _place(killed, stub.address)
    # Moments spread over the whole run; a start that is killed early leaves the rest to the next one.
    for moment in np.linspace(0.15, 0.95, kills):
        process = _synalign(killed, "run", "run.toml", start_new_session=True)
        try:
            process.communicate(timeout=float(moment) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    last = _run(killed, "run", "run.toml")
    assert last.returncode == 0, last.stderr

    for name in ("few_shot", "clusters", "attributes", "synthetic", "rejected", "weighted", "aligned"):
        assert _rows(killed, name) == _rows(undisturbed, name), name
    extra = Counter(stub.requests()) - asked - asked
    assert sum(extra.values()) <= kills * 4, "at most what was in flight at a kill is asked for again"
    assert set(stub.requests()) == set(asked)


def test_ctrl_c_leaves_a_resumable_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    slow = Stub(tmp_path, delay=0.5)
    try:
        _place(tmp_path, slow.address)
        process = _synalign(tmp_path, "run", "run.toml", start_new_session=True)
        while not slow.requests():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "To go on where it stopped: synalign run run.toml" in err
        assert "Traceback" not in err
        assert _run(tmp_path, "run", "run.toml").returncode == 0
        assert max(Counter(slow.requests()).values()) <= 2
    finally:
        slow.stop()


def test_only_evaluation_can_reach_the_held_out_rows(tmp_path: Path) -> None:
    assert [stage.name for stage in STAGES if "held_out" in stage.reads] == ["evaluate"]
    for stage in STAGES:
        if stage.name != "evaluate":
            with pytest.raises(SealedError, match="held_out"):
                StageView(tmp_path, stage).read_rows("held_out")


def test_every_stage_reads_only_what_an_earlier_one_writes() -> None:
    written: set[str] = set()
    for stage in STAGES:
        assert set(stage.reads) <= written, stage.name
        assert not set(stage.writes) & written, stage.name
        written |= set(stage.writes)
