"""The same weights on one device, on eight, and in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import free_address

WORKER = Path(__file__).parent / "align_worker.py"


def _run(out: Path, *arguments: str, devices: int = 1) -> subprocess.Popen:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(out), *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_weights_do_not_depend_on_devices_or_processes(tmp_path: Path) -> None:
    address = free_address()
    _wait(_run(tmp_path / "one.npz"))
    _wait(_run(tmp_path / "eight.npz", "--mesh", devices=8))
    pair = [_run(tmp_path / f"pair{i}.npz", "--mesh", "--processes", address, str(i)) for i in range(2)]
    _wait(*pair)
    found = {name: np.load(tmp_path / f"{name}.npz") for name in ("one", "eight", "pair0", "pair1")}
    one = found["one"]["weights"]
    np.testing.assert_allclose(one.sum(), 1.0, rtol=1e-5)
    assert one.max() > 2 / len(one)  # far from uniform, so that agreement says something
    for name in ("eight", "pair0", "pair1"):
        np.testing.assert_allclose(found[name]["weights"], one, atol=1e-4 * one.max())
    # Passes over the pool are shared by the processes; landmarks are read by both.
    for name in ("pair0", "pair1"):
        assert found[name]["rows_read"] < 0.7 * found["one"]["rows_read"]
