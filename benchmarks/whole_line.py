"""The whole job beside an endpoint that costs nothing: what each stage takes a row, and how that grows.

python benchmarks/whole_line.py [ROWS ...] [--keep FOLDER]     (default: 2000 10000)

A stub endpoint in its own process answers with halves of real sentences and embeds by hashed words, so what
is left is the line itself: requests, ledger, checks, duplicates, weights, students, files and report. Seconds
are those of the CPU, of both cores together: they say the same on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _report import Report, machine

from synalign_jax.pipeline.data.sources import Columns, load_source
from synalign_jax.pipeline.folder import stage_record
from synalign_jax.pipeline.run import STAGES

CONFIG = """
[run]
folder = "{folder}"
[data]
source = "rotten_tomatoes"
few_shot = 200
test_rows = 1000
ceiling_rows = 1500
[llm]
base_url = "{url}"
model = "stub"
concurrency = 64
[encoder]
kind = "openai"
model = "stub-embed"
base_url = "{url}"
[explore]
rounds = 10
[reason]
preset = "sst2"
[generate]
rows = {rows}
rows_per_call = 20
[loop]
stop = false
"""


def sentences() -> list[str]:
    source = load_source("rotten_tomatoes", Columns("text", "label"))
    return [" ".join(text.split()) for text in source.rows.texts]


@dataclass(frozen=True)
class Measured:
    """CPU seconds of each stage and of the whole process, its peak memory in GiB, and rows kept a request."""

    stages: dict[str, float]
    whole: float
    peak: float
    rows_a_request: float


def measure(rows: int, url: str, folder: Path) -> Measured:
    config = folder / f"{rows}.toml"
    config.write_text(CONFIG.format(folder=folder / str(rows), url=url, rows=rows))
    environment = {**os.environ, "SYNALIGN_CACHE": str(folder / "cache")}
    with (folder / f"{rows}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "synalign_jax", "run", str(config)],
            env=environment,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{rows} rows: the run failed; see {log.name}")
    records = {stage.name: stage_record(folder / str(rows), stage.name) for stage in STAGES}
    seconds = {name: record["cpu_seconds"] for name, record in records.items() if record}
    peaks = {name: record["peak_kib"] / 2**20 for name, record in records.items() if record}
    print({name: round(peak, 2) for name, peak in peaks.items()}, flush=True)
    last = json.loads((folder / str(rows) / "loop.json").read_text(encoding="utf-8"))["waves"][-1]
    whole, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20
    return Measured(seconds, whole, peak, last["rows"] / last["calls"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[2_000, 10_000])
    parser.add_argument("--keep", type=Path, help="leave the runs here")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentences.txt").write_text("\n".join(sentences()), encoding="utf-8")
    stub = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("_stub.py")), str(folder / "sentences.txt")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert stub.stdout is not None
    url = stub.stdout.readline().strip()
    found = {}
    try:
        for rows in options.rows:
            found[rows] = measure(rows, url, folder)
    finally:
        stub.kill()
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    with Report("whole-line") as report:
        show(report, found)


def show(report: Report, found: dict[int, Measured]) -> None:
    report(machine("jax", "synalign-jax", "aiohttp", "pyarrow"))
    report("synalign run beside a stub endpoint in another process; the loop weighs the rows between waves")
    report("programs that the first of these runs compiled are found by the next\n")
    report(
        f"{'CPU seconds':<18}"
        + "".join(f"{rows:>12,}" for rows in found)
        + f"{'ms a row':>12}{'a row more':>12}{'slope':>8}"
    )
    few, many = min(found), max(found)
    for name in [stage.name for stage in STAGES] + ["whole process"]:
        taken = [
            one.whole if name == "whole process" else one.stages.get(name, 0.0) for one in found.values()
        ]
        line = f"{name:<18}" + "".join(f"{seconds:>12.1f}" for seconds in taken)
        least, most = (taken[list(found).index(rows)] for rows in (few, many))
        # 1 is linear: time grows as rows do. Of less than a second nothing can be said.
        slope = f"{(most / least) / (many / few):>8.2f}" if many > few and least >= 1.0 else f"{'':>8}"
        # What a row costs beyond the few: without what costs the same for any number.
        more = f"{1e3 * (most - least) / (many - few):>12.3f}" if many > few else f"{'':>12}"
        report(f"{line}{1e3 * most / many:>12.3f}{more}{slope}")
    report(f"{'peak GiB':<18}" + "".join(f"{one.peak:>12.2f}" for one in found.values()))
    report(f"{'rows a request':<18}" + "".join(f"{one.rows_a_request:>12.1f}" for one in found.values()))


if __name__ == "__main__":
    main()
