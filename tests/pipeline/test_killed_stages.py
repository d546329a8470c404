"""A run that dies by SIGKILL in every one of its stages, and is continued each time."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stub_server import Stub

from synalign_jax.pipeline.folder import stage_record
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
rows = 48
rows_per_call = 3
[evaluate]
seeds = 2
"""

# Dies when a file of the stage is whole and has not taken its place yet: all of the work
# is done by then, and nothing says so. What is embedded is noted, a text a line.
_DIES = """
import contextlib, json, os, signal, sys
from pathlib import Path
from synalign_jax.cli import main
from synalign_jax.pipeline import folder
from synalign_jax.text.encoder import Encoder

name, count, whole, embed = sys.argv[1], int(sys.argv[2]), folder.replacing, Encoder.embed_marked

@contextlib.contextmanager
def replacing(path):
    global count
    with whole(path) as temporary:
        yield temporary
        count -= path.name == name
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)

def embed_marked(self, texts):
    with open("embedded.jsonl", "a") as file:
        file.writelines(json.dumps(text) + chr(10) for text in texts)
    return embed(self, texts)

folder.replacing, Encoder.embed_marked = replacing, embed_marked
sys.exit(main(["run", "run.toml"]))
"""


def _start(folder: Path, file: str = "", count: int = 1) -> int:
    environment = {**os.environ, "SYNALIGN_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", _DIES, file, str(count)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_with_the_same_rows_and_nothing_is_done_twice(tmp_path: Path) -> None:
    stub = Stub(tmp_path, delay=0.02)
    try:
        for name in ("whole", "killed"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "run.toml").write_text(CONFIG.format(address=stub.address))
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert _start(whole) == 0
        asked = Counter(stub.requests())
        assert set(asked.values()) == {1}
        kills = {stage.name: [(f"{stage.writes[-1]}", 1)] for stage in STAGES}
        kills["generate"] = [("loop", 1), ("loop", 2), ("rejected", 1)]
        for stage in STAGES:
            for stem, count in kills[stage.name]:
                (file,) = (one.name for one in (whole / "out").glob(f"{stem}.*") if one.suffix != ".jsonl")
                assert _start(killed, file, count) == -signal.SIGKILL, f"it does not write {file}"
                assert stage_record(killed / "out", stage.name) is None
        assert _start(killed) == 0
    finally:
        stub.stop()
    for name in ("few_shot", "clusters", "attributes", "synthetic", "rejected", "weighted", "aligned"):
        one, other = (pq.read_table(folder / "out" / f"{name}.parquet") for folder in (whole, killed))
        assert one.equals(other), name
    for name in ("real_vectors", "synthetic_vectors", "weights", "distribution"):
        one, other = (np.load(folder / "out" / f"{name}.npy") for folder in (whole, killed))
        np.testing.assert_array_equal(one, other)
    assert (whole / "out/evaluation.json").read_bytes() == (killed / "out/evaluation.json").read_bytes()
    extra = Counter(stub.requests()) - asked - asked
    assert sum(extra.values()) <= 3 * 4, "more than what was in flight at the kills of generation"
    embedded = Counter((killed / "embedded.jsonl").read_text().splitlines())
    assert set(embedded) == set((whole / "embedded.jsonl").read_text().splitlines())
    assert set(embedded.values()) == {1}, "a text was embedded twice"
