"""What the choice costs: seconds of `mix` over those of plain `align`, 200 real rows and a pool of 10,000.

python -m benchmarks.study.cost --data FOLDER [--cache FOLDER]
"""

from __future__ import annotations

import argparse
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

    with Report("study-cost") as report:
        report(machine("jax", "synalign-jax"))
        shape = f"{len(pool.labels):,} in {pool.vectors.shape[1]} dimensions"
        report(f"\n{_ROWS} real rows, a pool of {shape}, two labels")
        for name, call in (("align", align), ("mix", mix)):
            first = timed(lambda call=call: call(0))[1]
            again = [timed(lambda call=call, seed=seed: call(seed))[1] for seed in (1, 2, 3)]
            report(f"  {name:6} first call, with compiling, {first:6.1f} s; then {np.median(again):6.1f} s")


if __name__ == "__main__":
    main()
