"""The whole job against a server whose answers depend on the request alone, and the real encoder."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from stub_server import Stub

from synalign_jax.cli import main
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


@contextmanager
def _stub(folder: Path, delay: float) -> Iterator[Stub]:
    server = Stub(folder, delay=delay)
    try:
        yield server
    finally:
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


class Undisturbed(NamedTuple):
    folder: Path
    stub: Stub
    done: subprocess.CompletedProcess
    asked: list[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """A run from beginning to end that nothing came between."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with _stub(folder, delay=0.05) as stub:
        _place(folder, stub.address)
        done = _run(folder, "run", "run.toml")
        assert done.returncode == 0, done.stderr
        yield Undisturbed(folder, stub, done, stub.requests())


def test_the_whole_job(
    undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder, stub, done, asked = undisturbed
    assert "few-shot real only" in done.stdout
    assert "out/report.html" in done.stdout
    synthetic, weighted, aligned = (_rows(folder, name) for name in ("synthetic", "weighted", "aligned"))
    assert Counter(row["label"] for row in synthetic) == {"negative": 12, "positive": 12}
    weights = np.load(folder / "out" / "weights.npy")
    assert weights.min() >= 0
    mixture = json.loads((folder / "out" / "mixture.json").read_text())
    np.testing.assert_allclose(weights.sum(), mixture["total_weight"], atol=1e-4)
    np.testing.assert_allclose(np.load(folder / "out" / "distribution.npy").sum(), 1, atol=1e-6)
    assert mixture["verdict"] in done.stdout
    assert [row["text"] for row in weighted] == [row["text"] for row in synthetic]
    assert {row["index"] for row in aligned} <= set(range(24))
    few_shot = _rows(folder, "few_shot")
    for row in aligned:
        assert {few_shot[i]["label"] for i in row["demonstrations"]} == {row["label"]}
        # Rows of the trial were asked for before there were attributes.
        assert set(json.loads(row["attributes"])) in (
            set(),
            {"subject", "style", "tone", "structure", "length"},
        )
    lines = [json.loads(line) for line in (folder / "out" / "aligned.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [row["text"] for row in aligned]

    again = _run(folder, "run", "run.toml")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert stub.requests() == asked, "a finished run asks nothing"

    monkeypatch.chdir(folder)
    monkeypatch.setenv("SYNALIGN_CACHE", str(folder / "cache"))
    Path("other.toml").write_text(CONFIG.format(address=stub.address).replace("rows = 24", "rows = 30"))
    assert main(["run", "other.toml"]) == 1
    assert "generate.rows: 24 -> 30" in capsys.readouterr().err

    assert main(["evaluate", "out", "--seeds", "3"]) == 0
    assert json.loads((folder / "out" / "evaluation.json").read_text())["students"]["seeds"] == 3
    assert stub.requests() == asked


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_many_moments_the_run_ends_with_the_rows_of_an_undisturbed_one(
    tmp_path: Path, undisturbed: Undisturbed, kills: int
) -> None:
    asked = Counter(undisturbed.asked)
    assert set(asked.values()) == {1}
    with _stub(tmp_path, delay=0.05) as stub:
        _kill_again_and_again(tmp_path, stub, kills)

    for name in ("few_shot", "clusters", "attributes", "synthetic", "rejected", "weighted", "aligned"):
        assert _rows(tmp_path, name) == _rows(undisturbed.folder, name), name
    extra = Counter(stub.requests()) - asked
    assert sum(extra.values()) <= kills * 4, "at most what was in flight at a kill is asked for again"
    assert set(stub.requests()) == set(asked)


def _kill_again_and_again(folder: Path, stub: Stub, kills: int) -> None:
    """Starts the run, killed at moments spread over all of its stages, and in the end left alone."""
    _place(folder, stub.address)
    for moment in np.linspace(0.15, 0.95, kills):
        process = _synalign(folder, "run", "run.toml", start_new_session=True)
        begun = int(moment * len(STAGES))
        while process.poll() is None and len(list(folder.glob("out/done/*.json"))) < begun:
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = _run(folder, "run", "run.toml")
    assert last.returncode == 0, last.stderr


def test_ctrl_c_leaves_a_resumable_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    with _stub(tmp_path, delay=0.5) as slow:
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
