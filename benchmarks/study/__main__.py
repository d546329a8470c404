"""Does it make models better? Pools of real LLMs, few-shot sizes, students, and everybody's weights.

    python -m benchmarks.study --data FOLDER [--quick] [--only published|generators|spoilt|tables] ...

Finished cells are kept in a file, so that a study that was stopped goes on; `--only tables` writes the tables
and pictures of what is there to benchmarks/results/study.*.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks._pools import CACHE

from .arms import ARMS
from .cells import PARTS, Loader, Records, arms_of, run
from .students import NAMES
from .tables import write

SIZES = (32, 200, 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the published data (data.py says whence)")
    parser.add_argument("--cache", type=Path, default=CACHE / "study", help="folder of the embeddings")
    parser.add_argument("--records", type=Path, help="JSONL of finished cells (default: in the cache)")
    parser.add_argument(
        "--more", type=Path, nargs="*", default=[], help="records of other machines, for the tables"
    )
    parser.add_argument("--only", choices=(*PARTS, "tables"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--students", nargs="+", choices=NAMES, default=["linear", "mlp"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--pools", nargs="+", help="parts of the names of the pools to run (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one seed, 200 real rows, the linear student")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.sizes, options.students = 1, [200], ["linear"]
    done = Records(options.records or options.cache / "records.jsonl")
    parts = [] if options.only == "tables" else [options.only] if options.only else list(PARTS)
    # Seeds outermost: a study that is stopped has every cell, with fewer seeds.
    loader = Loader(options.data, options.cache)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for part in parts:
            for task in PARTS[part](loader):
                for pool in task.pools:
                    if options.pools and not any(name in f"{task.name} {pool}" for name in options.pools):
                        continue
                    for size in options.sizes:
                        start = time.perf_counter()
                        arms = arms_of(part, options.arms)
                        count = run(part, task, pool, size, seed, arms, options.students, done, loader)
                        if count:
                            took = f"{count} in {time.perf_counter() - start:.1f} s"
                            print(f"{task.name}, {pool}, {size} real rows, seed {seed}: {took}", flush=True)
    write([*done.rows, *(row for path in options.more for row in Records(path).rows)])


if __name__ == "__main__":
    main()
