"""synalign align: weights and a resampled set for a pool that already exists; no LLM."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .rows import add_options, embed_rows, read_rows

if TYPE_CHECKING:
    from synalign_jax.core.align import Alignment
    from synalign_jax.pipeline.tables import Table

EXAMPLE = "Example:  synalign align --real real.jsonl --synthetic pool.jsonl --out aligned"


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "align",
        help="weigh a pool that you already have",
        description="Weigh the rows of a pool so that they are distributed like the real rows, and draw a set"
        " by the weights. Files are JSONL, CSV, TSV or Parquet with a column 'text' or 'embedding' and"
        " perhaps 'label', or .npy embeddings.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--real", required=True, metavar="FILE", help="the real rows")
    parser.add_argument("--synthetic", required=True, metavar="FILE", help="the pool")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--size", type=int, metavar="N", help="rows to draw (default: the ESS)")
    parser.add_argument("--repeats", action="store_true", help="rows drawn may repeat: nearer to the weights")
    parser.add_argument("--regularization", default="auto", metavar="GAMMA", help="'auto' or a number")
    parser.add_argument(
        "--spectral-power",
        default="auto",
        metavar="P",
        help="how much more the pool's leading principal components count: 'auto' or a number, 0 for not",
    )
    parser.add_argument("--method", default="auto", help="auto, exact, landmarks or projections")
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="decides folds and draws (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import jax
    from rich.console import Console
    from rich.table import Table as Grid

    from synalign_jax.core.align import align
    from synalign_jax.core.checks import InputError
    from synalign_jax.core.memory import alignment_memory
    from synalign_jax.core.resample import resample
    from synalign_jax.pipeline.progress import Steps, Terminal

    terminal = Terminal()
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; name a folder")
    gamma = _number("--regularization", options.regularization)
    power = _number("--spectral-power", options.spectral_power)
    real, pool = (read_rows(path, options, terminal) for path in (options.real, options.synthetic))
    if (real.labels is None) != (pool.labels is None):
        lacking = options.real if real.labels is None else options.synthetic
        raise InputError(
            f"{lacking}: no column '{options.label}', yet the other file has one; add or drop it"
        )
    if options.size is not None and not 1 <= options.size <= len(pool):
        raise InputError(f"--size: {options.size}; the pool has {len(pool)} rows, ask for 1 to that many")
    real_vectors, pool_vectors = embed_rows(
        [(options.real, real), (options.synthetic, pool)], options, terminal
    )
    largest, width = pool_vectors.shape
    if pool.labels is not None:
        largest = max(Counter(pool.labels).values())
    if options.method != "projections":
        terminal.say(f"Memory: {alignment_memory(len(real), largest, width, method=options.method)}")
    align_key, draw_key = jax.random.split(jax.random.key(options.seed))
    with Steps(terminal, "Align") as steps:
        found = align(
            real_vectors,
            pool_vectors,
            key=align_key,
            real_labels=real.labels,
            synthetic_labels=pool.labels,
            regularization=gamma,
            spectral_power=power,
            method=options.method,
            on_progress=steps,
        )
    size = options.size or max(1, min(round(found.ess), int(np.count_nonzero(found.weights))))
    with terminal.console.status("Drawing rows"):
        drawn = np.sort(
            resample(
                found.weights,
                size,
                key=draw_key,
                embeddings=pool_vectors,
                labels=pool.labels,
                distinct=not options.repeats,
            )
        )
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "weights.npy", found.weights)
    _write_rows(out / "resampled.jsonl", pool, drawn, found.weights)
    grid = Grid(show_header=False, box=None)
    for name, value in _facts(found, drawn):
        grid.add_row(name, value)
    Console().print(grid)
    print(f"Weights: {out / 'weights.npy'}\nRows drawn: {out / 'resampled.jsonl'}")
    return 0


def _number(name: str, text: str) -> float | str:
    from synalign_jax.core.checks import InputError

    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}: {text!r}; give 'auto' or a number from 0") from None


def _write_rows(path: Path, pool: Table, drawn: np.ndarray, weights: np.ndarray) -> None:
    with path.open("w", encoding="utf-8") as file:
        for i in drawn.tolist():
            row: dict[str, object] = {"index": i, "weight": float(weights[i])}
            if pool.texts is not None:
                row["text"] = pool.texts[i]
            if pool.labels is not None:
                row["label"] = pool.labels[i]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _facts(found: Alignment, drawn: np.ndarray) -> list[tuple[str, str]]:
    gammas = sorted(set(found.regularization.values()))
    spread = f"{gammas[0]:.2g}" if len(gammas) == 1 else f"{gammas[0]:.2g} to {gammas[-1]:.2g} by label"
    return [
        ("MMD² to the real rows, equal weights", f"{found.mmd2_before:.3g}"),
        (
            "MMD² to the real rows, weighted",
            f"{found.mmd2_after:.3g}",
        ),
        ("held-out MMD²", "not measured" if math.isnan(found.heldout_mmd2) else f"{found.heldout_mmd2:.3g}"),
        ("noise band: real rows against their law", f"{found.noise_band:.3g}"),
        ("spectral power, regularisation gamma", f"{found.spectral_power:g}, {spread}"),
        ("objective", f"{found.objective:.3g} (optimum at most {found.gap:.1g} below)"),
        ("effective sample size", f"{found.ess:,.0f} of {len(found.weights):,}"),
        ("rows drawn", f"{len(drawn):,}, {len(np.unique(drawn)):,} of them distinct"),
        ("status", found.status),
    ]
