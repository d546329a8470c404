"""What the choice costs: `mix` beside plain `align`, 200 real rows and a pool of 10,000, by the clock and in
processor seconds (of all cores; on a busy machine the ones to compare).

python -m benchmarks.study.cost --data FOLDER [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import synalign_jax as sa
from benchmarks._pools import CACHE
from benchmarks._report import Report, machine, timed

from .cells import Loader
from .data import FEWGEN
from .spoil import joined

_ROWS = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cache", type=Path, default=CACHE / "study")
    options = parser.parse_args()
    loader = Loader(options.data, options.cache)
    real = loader.few("sst2_train", _ROWS)
    pool = joined("FewGen", [loader(name, 2_500) for name in FEWGEN])
    labels, pool_labels = real.labels.tolist(), pool.labels.tolist()

    def align(seed: int) -> object:
        key = jax.random.key(seed)
        return sa.align(
            real.vectors, pool.vectors, key=key, real_labels=labels, synthetic_labels=pool_labels
        ).weights

    def mix(seed: int) -> object:
        return sa.mix(real.vectors, labels, pool.vectors, pool_labels, key=jax.random.key(seed)).weights

    with Report("study/study-cost") as report:
        report(machine("jax", "synalign-jax"))
        shape = f"{len(pool.labels):,} in {pool.vectors.shape[1]} dimensions"
        report(f"\n{_ROWS} real rows, a pool of {shape}, two labels")
        calls = {"align": align, "mix": mix}
        took = {name: [_seconds(call, 0)] for name, call in calls.items()}
        for seed in (1, 2, 3):
            for name, call in calls.items():
                took[name].append(_seconds(call, seed))
        for name, each in took.items():
            first, again = each[0], np.median(each[1:], axis=0)
            report(
                f"  {name:6} first call, with compiling, {first[0]:6.1f} s by the clock, {first[1]:6.1f} s of"
                f" processor; then, median of 3 in turn, {again[0]:6.1f} s and {again[1]:6.1f} s"
            )


def _seconds(call: Callable[[int], object], seed: int) -> tuple[float, float]:
    start = time.process_time()
    wall = timed(lambda: call(seed))[1]
    return wall, time.process_time() - start


if __name__ == "__main__":
    main()
