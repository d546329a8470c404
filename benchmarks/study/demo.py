"""The run of `synalign demo` with several seeds: what its students reach, and what its verdict said before.

python -m benchmarks.study.demo --folder FOLDER [--seeds 0 1 2 3 4] [--only-table]

Every seed draws other real rows, other held-out rows and asks the LLM anew. Finished runs in FOLDER are read
and no more; one that was stopped goes on. Some five minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks._report import Report, machine

REAL, BOTH, ALIGNED = "few-shot real only", "real + as generated", "real + aligned"
_CLI = (sys.executable, "-m", "synalign_jax")


def run(folder: Path, seed: int) -> None:
    settings = folder / f"{seed}.toml"
    if not settings.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([*_CLI, "demo", "--save", str(settings)], check=True, stdout=subprocess.DEVNULL)
        text = settings.read_text(encoding="utf-8")
        for line, wanted in (('folder = "runs/demo"', f'folder = "{seed}"'), ("seed = 0", f"seed = {seed}")):
            if text.count(f"\n{line}") != 1:
                raise SystemExit(f"{settings}: {line!r} is not there once; synalign demo writes it otherwise")
            text = text.replace(f"\n{line}", f"\n{wanted}")
        settings.write_text(text, encoding="utf-8")
    subprocess.run([*_CLI, "run", str(settings)], check=True)


def table(folder: Path, seeds: list[int]) -> None:
    with Report("study/demo") as report:
        report(f"synalign demo with {len(seeds)} seeds; accuracy on 1,000 held-out real rows")
        report(machine("jax", "numpy"))
        report()
        report("seed  real rows alone  real + as generated  real + aligned  aligned less real  verdict")
        found = []
        for seed in seeds:
            mixture, evaluation = (
                json.loads((folder / str(seed) / name).read_text(encoding="utf-8"))
                for name in ("mixture.json", "evaluation.json")
            )
            scores = {s["name"]: s["accuracy"]["value"] for s in evaluation["students"]["scores"]}
            own = [scores[name] for name in (REAL, BOTH, ALIGNED)]
            found.append(own)
            expected = mixture["expected_gain"]
            said = f"{mixture['decision']} ({mixture['sure']:.0%} sure)"
            if mixture["share"]:
                said += f", share {mixture['share']:.2f}, expected {100 * expected['value']:+.1f} points"
            report(f"{seed:>4}{_columns(own)}{said}")
        mean = np.mean(found, axis=0)
        report(f"mean{_columns(mean.tolist())}".rstrip())
        gains = 100 * (np.array(found)[:, 2] - np.array(found)[:, 0])
        error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else float("nan")
        report(f"\nreal + aligned less real alone: {gains.mean():+.2f} points, standard error {error:.2f}")


def _columns(own: list[float]) -> str:
    real, both, aligned = own
    return f"{real:17.3f}{both:21.3f}{aligned:16.3f}{100 * (aligned - real):+19.1f}  "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only-table", action="store_true", help="of runs that are finished")
    parser.add_argument("--only-run", action="store_true", help="and leave results/ as they are")
    args = parser.parse_args()
    if not args.only_table:
        for seed in args.seeds:
            run(args.folder, seed)
    if not args.only_run:
        table(args.folder, args.seeds)


if __name__ == "__main__":
    main()
