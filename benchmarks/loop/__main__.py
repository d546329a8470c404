"""Generation that learns between its waves beside one-shot generation at equal calls, on a real small model.

    python -m benchmarks.loop [--tasks ...] [--arms ...] [--seeds N] [--overhead] [--only tables]

Needs the demo and datasets extras. A cell is a task, a seed and a way of asking; finished ones are kept in
the cache, and one that was stopped goes on. What is there is written to benchmarks/results/loop.txt.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

from benchmarks._pools import CACHE
from benchmarks._report import Report, machine

from . import labels
from .cells import ARMS, TASKS, run
from .overhead import SLOTS, measure
from .tables import write, write_labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=CACHE / "loop", help="folder of the cells")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["one-shot", "loop"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--overhead", action="store_true", help="measure that at a stub alone")
    parser.add_argument("--seconds", type=float, default=4.0, help="that the stub takes for an answer")
    parser.add_argument("--calls", type=int, default=1_024, help="of the stub; every 128 are a wave")
    parser.add_argument("--labels", action="store_true", help="measure the check of labels on what is there")
    parser.add_argument("--only", choices=("tables",))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    overhead = given.cache / "overhead.json"
    if given.overhead:
        found = {
            name: measure(given.seconds, given.calls // 128, given.calls, steered=steered)
            for name, steered in (("loop", True), ("one-shot", False))
        }
        overhead.write_text(json.dumps(found, indent=1))
    elif given.labels:
        (given.cache / "labels.json").write_text(json.dumps(labels.measure(given.cache), indent=1))
    elif given.only != "tables":
        for seed, task, arm in itertools.product(given.seeds, given.tasks, given.arms):
            print(f"{task}, seed {seed}, {arm}", file=sys.stderr, flush=True)
            run(task, arm, seed, given.cache)
    cells = [json.loads(path.read_text()) for path in sorted(given.cache.glob("*/cell.json"))]
    with Report("loop") as say:
        say(machine("jax", "xllamacpp", "synalign-jax"))
        say("SmolLM2-135M-Instruct (Q4_1), embedded llama.cpp server, 8 slots; 200 real rows a task")
        say("")
        write(cells, say)
        checked = given.cache / "labels.json"
        if checked.exists():
            write_labels(json.loads(checked.read_text()), say)
        if overhead.exists():
            for name, one in json.loads(overhead.read_text()).items():
                say(
                    f"{SLOTS} slots, {one['seconds']:g} s an answer, {one['calls']} calls,"
                    f" {one['calls'] // 128} waves, {name}: {one['wall']:.0f} s, sifting and embedding beside"
                    f" the answers {one['take']:.1f} s ({one['take_cpu']:.1f} of processors), between waves"
                    f" {one['between']:.1f} s ({one['between_cpu']:.1f}), slots idle {one['idle']:.1%},"
                    f" {one['steady']:.1%} while there was something to ask"
                )


if __name__ == "__main__":
    main()
