"""Evaluation and report of a run of very many rows: time, and how much memory.

python benchmarks/ends.py RUN [ROWS]     (default: 1000000)

RUN is a finished run, as `python benchmarks/whole_line.py 5000 --keep FOLDER` leaves one. Its rows are said
again, with three other words each and vectors that are a little moved, until there are ROWS of them; weights
are drawn. Then the stages evaluate and report are repeated, each in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _report import Report, machine

from synalign_jax.pipeline.folder import RunFolder, open_finished, stage_record
from synalign_jax.pipeline.progress import Silent
from synalign_jax.pipeline.run import STAGES, records
from synalign_jax.pipeline.tools import Tools

_BLOCK = 50_000
_DRAWN = 20_000


def grow(run: Path, target: Path, rows: int) -> None:
    """A copy of a run in `target`, of so many rows."""
    shutil.copytree(run, target)
    rng = np.random.default_rng(0)
    vectors = np.load(run / "synthetic_vectors.npy")
    again = np.arange(rows) % len(vectors)
    many = np.lib.format.open_memmap(
        target / "synthetic_vectors.npy", "w+", np.float32, (rows, vectors.shape[1]), version=(1, 0)
    )
    for start in range(0, rows, _BLOCK):
        own = vectors[again[start : start + _BLOCK]]
        own = own + rng.normal(0, 0.02, own.shape).astype(np.float32)
        many[start : start + _BLOCK] = own / np.linalg.norm(own, axis=1, keepdims=True)
    del many
    weights = rng.gamma(0.5, 1.0, rows)
    weights /= weights.sum()
    np.save(target / "distribution.npy", weights)
    np.save(target / "weights.npy", 200 * weights)
    made = pq.read_table(run / "weighted.parquet").take(pa.array(again))
    words = " ".join(made["text"][: len(vectors)].to_pylist()).split()
    more = rng.integers(0, len(words), (rows, 3))
    texts = [
        f"{text} {words[a]} {words[b]} {words[c]}"
        for text, (a, b, c) in zip(made["text"].to_pylist(), more.tolist(), strict=True)
    ]
    own = {"index": np.arange(rows), "weight": 200 * weights, "distribution": weights, "text": texts}
    for name, values in own.items():
        place = made.schema.get_field_index(name)
        made = made.set_column(
            place, made.schema.field(place), pa.array(values, made.schema.field(place).type)
        )
    pq.write_table(made, target / "weighted.parquet")
    drawn = np.sort(rng.choice(rows, min(_DRAWN, rows), replace=False))
    pq.write_table(made.take(pa.array(drawn)), target / "aligned.parquet")
    names = pq.read_schema(run / "synthetic.parquet").names
    pq.write_table(made.select(names), target / "synthetic.parquet")


@dataclasses.dataclass(frozen=True)
class Noise:
    """Vectors for the held-out rows: what they are does not change what is computed."""

    dimension: int
    identity: str = "noise"

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = np.random.default_rng(0).normal(size=(len(texts), self.dimension))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def repeat(folder: Path, name: str) -> None:
    """One stage of a run again."""
    config = open_finished(folder)
    config = msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, folder=str(folder)))
    width = np.load(folder / "real_vectors.npy", mmap_mode="r").shape[1]

    def none(_: object) -> None:
        raise AssertionError("these stages ask no LLM")

    with tempfile.TemporaryDirectory() as cache, RunFolder(config, amend=True) as opened:
        tools = Tools(none, lambda: Noise(width), Silent(), Path(cache))  # type: ignore[arg-type]
        (stage,) = (stage for stage in STAGES if stage.name == name)
        opened.run(stage, tools, *((records(folder),) if name == "report" else ()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--grown", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        repeat(options.run, options.stage)
        return
    if options.grown:
        grow(options.run, options.grown, options.rows)
        return
    with tempfile.TemporaryDirectory() as scratch, Report("million/ends") as report:
        folder = Path(scratch) / "run"
        # In a process of its own too: the peak of one that is started begins with that of who starts it.
        own = [sys.executable, __file__]
        subprocess.run([*own, str(options.run), str(options.rows), "--grown", str(folder)], check=True)
        report(machine("jax", "synalign-jax", "pyarrow"))
        report(f"the last stages of a run of {options.rows:,} rows, a process each\n")
        report(f"{'':<12}{'seconds':>10}{'of CPU':>10}{'peak GiB':>10}")
        for name in ("evaluate", "report"):
            subprocess.run([*own, str(folder), "--stage", name], check=True)
            record = stage_record(folder, name)
            assert record is not None
            report(
                f"{name:<12}{record['seconds']:>10.1f}{record['cpu_seconds']:>10.1f}"
                f"{record['peak_kib'] / 2**20:>10.2f}"
            )


if __name__ == "__main__":
    main()
