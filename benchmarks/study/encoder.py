"""The student that learns its own representation: MiniLM, fine-tuned, on small pools.

python -m benchmarks.study.encoder --data FOLDER [--seeds 3] [--only-table]

200 real rows of SST-2 and 500 rows of a FewGen pool: alone, with the pool as generated, and with what `mix`
chose; a linear student of the frozen vectors beside it. A minute and a half of processor time a pool and seed
for each of the three. Finished cells are kept in the cache.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._pools import CACHE
from benchmarks._report import Report, machine

from .arms import BOTH, CHOICE, REAL
from .cells import Loader, Records, Task, run

_POOLS = ("fewgen_21", "fewgen_13")
_POOL_ROWS = 500
_SIZE = 200
_ARMS = [REAL, BOTH, CHOICE]
_STUDENTS = ["linear", "encoder"]


def table(rows: list[dict[str, Any]]) -> None:
    with Report("study/study-encoder") as report:
        report(machine("jax", "scikit-learn", "synalign-jax"))
        report(f"\nSST-2, {_SIZE} real rows, {_POOL_ROWS} rows of a FewGen pool; accuracy on 872 test rows")
        for student in _STUDENTS:
            report(f"\n{student:10}  seed     real  real + pool      mix  mix less real  its verdict")
            cells: dict[tuple[str, int], dict[str, Any]] = {}
            for row in rows:
                if row["student"] == student:
                    cells.setdefault((row["pool"], row["seed"]), {})[row["arm"]] = row
            whole = {cell: arms for cell, arms in sorted(cells.items()) if len(arms) == len(_ARMS)}
            found = [[arms[arm]["accuracy"] for arm in _ARMS] for arms in whole.values()]
            for ((pool, seed), arms), own in zip(whole.items(), found, strict=True):
                chosen = arms[CHOICE]
                said = f"{chosen['decision']}, share {chosen['share']:.2f}, {chosen['sure']:.0%} sure"
                report(f"{pool:10}{seed:>6}{_columns(own)}  {said}")
            if found:
                report(f"{'mean':10}{'':6}{_columns(np.mean(found, axis=0).tolist())}")


def _columns(own: list[float]) -> str:
    real, both, chosen = own
    return f"{real:9.3f}{both:13.3f}{chosen:9.3f}{100 * (chosen - real):+15.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the published data (data.py says whence)")
    parser.add_argument("--cache", type=Path, default=CACHE / "study", help="folder of the embeddings")
    parser.add_argument("--records", type=Path, help="JSONL of finished cells (default: in the cache)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only-table", action="store_true", help="of the cells that are finished")
    options = parser.parse_args()
    done = Records(options.records or options.cache / "encoder.jsonl")
    loader = Loader(options.data, options.cache)
    task = Task(
        "SST-2", "sst2_train", "sst2_test", {name: partial(loader, name, _POOL_ROWS) for name in _POOLS}
    )
    for seed in () if options.only_table else range(options.seeds):
        for pool in _POOLS:
            run("published", task, pool, _SIZE, seed, _ARMS, _STUDENTS, done, loader)
    table(done.rows)


if __name__ == "__main__":
    main()
