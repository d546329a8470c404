"""`synalign align` of a pool with texts, labels and vectors in Parquet shards: time and peak memory.

python -m benchmarks.million.align_shards [ROWS] [--processes N] [--keep FOLDER]   (default: 1000000, one)

With several processes these find each other as on several machines, over gloo. A pool that --keep left is not
made again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._report import Report, machine

from .shards import write

_SHARDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--weights", default="student", choices=("student", "distribution"))
    parser.add_argument("--keep", type=Path, help="leave the pool and what align writes here")
    options = parser.parse_args()
    with Report("million/align-shards") as report, tempfile.TemporaryDirectory() as passing:
        folder = str((options.keep or Path(passing)) / str(options.rows))
        report(machine("jax", "synalign-jax", "pyarrow", "rensa"))
        if not (Path(folder) / "whole").exists():
            write(Path(folder), options.rows, _SHARDS)
            (Path(folder) / "whole").touch()
        # What an earlier run of this benchmark wrote would be continued.
        shutil.rmtree(Path(folder) / "out", ignore_errors=True)
        report(
            f"synalign align --weights {options.weights}: {options.rows:,} texts with labels and 384 columns"
            f" in {_SHARDS} Parquet files, 2,000 real rows; {options.processes} process(es)\n"
        )
        started = time.monotonic()
        running = [start(Path(folder), options, index) for index in range(options.processes)]
        for index, process in enumerate(running):
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"process {index} failed; see {folder}/log-{index}")
            report(
                f"process {index}: {usage.ru_utime + usage.ru_stime:7.1f} s of CPU,"
                f" {usage.ru_maxrss / 2**20:6.2f} GiB at most"
            )
        report(f"{time.monotonic() - started:.1f} s in all")
        said = (Path(folder) / "log-0").read_text(encoding="utf-8", errors="replace")
        report("\n" + "\n".join(line.replace(folder, "...") for line in said.splitlines()[-12:]))


def start(folder: Path, options: argparse.Namespace, index: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "synalign_jax", "align", "--weights", options.weights,
        "--real", str(folder / "real.parquet"), "--synthetic", str(folder / "pool-*.parquet"),
        "--out", str(folder / "out"),
    ]  # fmt: skip
    if options.processes > 1:
        if not index:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                options.port = free.getsockname()[1]
        command += [
            "--coordinator", f"127.0.0.1:{options.port}",
            "--processes", str(options.processes), "--process", str(index),
        ]  # fmt: skip
    with (folder / f"log-{index}").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
