"""synalign align killed at any instant goes on when it is called again, to the same files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from synalign_jax.cli import main
from synalign_jax.pipeline import checkpoint

_KILLED = """
import os, signal, sys
from synalign_jax.cli import main
from synalign_jax.pipeline import checkpoint

checkpoint._WORTH, left, put = 0.0, [int(sys.argv[1])], checkpoint.FileCheckpoint.put

def and_die(self, name, **arrays):
    put(self, name, **arrays)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.FileCheckpoint.put = and_die
main(sys.argv[2:])
"""


def _files(folder: Path, rows: int) -> list[str]:
    rng = np.random.default_rng(0)
    for name, count, shift in (("real", 60, 0.0), ("pool", rows, 0.3)):
        np.save(folder / f"{name}.npy", rng.normal(shift, 1.0 + shift, size=(count, 6)).astype(np.float32))
    paths = ["--real", str(folder / "real.npy"), "--synthetic", str(folder / "pool.npy")]
    return ["align", *paths, "--method", "landmarks", "--weights", "distribution", "--out"]


def _same(one: Path, other: Path) -> None:
    for name in ("weights.npy", "distribution.npy", "resampled.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert json.loads((one / "alignment.json").read_text())["status"] == "converged"


def test_killed_after_a_piece_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = _files(tmp_path, 300)
    command = [sys.executable, "-c", _KILLED, "3", *words, str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    kept = tmp_path / ".out.unfinished"
    assert len(list(kept.glob("*/*.npz"))) == 3
    assert not (tmp_path / "out").exists()
    # Other settings are another computation.
    monkeypatch.setattr(checkpoint, "_WORTH", 0.0)
    assert main([*words, str(tmp_path / "whole")]) == 0
    assert "Going on" not in capsys.readouterr().err
    assert main([*words, str(tmp_path / "out")]) == 0
    assert "Going on where an earlier call was stopped" in capsys.readouterr().err
    assert not kept.exists()
    _same(tmp_path / "out", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_again_and_again_it_comes_to_its_end(tmp_path: Path, how: signal.Signals) -> None:
    """Killed later and later, at instants that nothing chose."""
    words = _files(tmp_path, 20_000)
    command = [sys.executable, "-m", "synalign_jax", *words]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    patience = 4.0
    while True:
        process = subprocess.Popen([*command, str(tmp_path / "out")], stdout=subprocess.DEVNULL)
        time.sleep(patience)
        if process.poll() is None:
            process.send_signal(how)
        if process.wait() == 0:
            break
        patience *= 1.5
    _same(tmp_path / "out", tmp_path / "whole")
    assert not (tmp_path / ".out.unfinished").exists()
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(tmp_path / "whole"))


def test_what_cannot_be_kept_does_not_stop_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_WORTH", 0.0)
    (tmp_path / "file").write_text("", encoding="utf-8")
    kept = checkpoint.FileCheckpoint(tmp_path / "file", "key")
    with pytest.warns(UserWarning, match="is not kept"):
        kept.put("a", values=np.ones(3))
    kept.put("b", values=np.ones(3))  # said once
    assert kept.get("a") is None


def test_a_damaged_piece_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_WORTH", 0.0)
    kept = checkpoint.FileCheckpoint(tmp_path / "kept", "key")
    kept.put("a piece", values=np.arange(1_000.0))
    found = kept.get("a piece")
    assert found is not None
    np.testing.assert_array_equal(found["values"], np.arange(1_000.0))
    (file,) = (tmp_path / "kept/key").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert kept.get("a piece") is None
    assert checkpoint.FileCheckpoint(tmp_path / "kept", "other").get("a piece") is None


@pytest.mark.parametrize(
    "other",
    [
        ("settings", np.zeros(3), ["b"]),
        ("settings", np.zeros(3, np.float32), ["a"]),
        ("set", np.ones(3), ["a"]),
    ],
)
def test_whatever_is_different_is_another_computation(other: tuple) -> None:
    assert checkpoint.fingerprint("settings", np.zeros(3), ["a"]) != checkpoint.fingerprint(*other)
