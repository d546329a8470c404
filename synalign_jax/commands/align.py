"""synalign align: weights and a resampled set for a pool that already exists; no LLM."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from . import machines
from .layout import HelpFormatter
from .rows import add_options

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import PRNGKeyArray

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.mixing.mixture import Mixture
    from synalign_jax.pipeline.checkpoint import FileCheckpoint
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.pipeline.together import Together

    from .pool_rows import Pair

EXAMPLE = (
    "Examples:\n"
    "  synalign align --real real.jsonl --synthetic pool.jsonl --out aligned\n"
    "  synalign align --real real.csv --real-text review --synthetic 'shards/*.parquet' --out aligned\n"
    "  synalign align --real faq.jsonl --synthetic alpaca.json --text '{question}\\n{answer}' \\\n"
    "      --synthetic-text '{instruction}\\n{output}' --no-labels --out aligned --resampled drawn.parquet"
)
_SETTINGS = (
    "real",
    "synthetic",
    "weights",
    "group",
    "size",
    "repeats",
    "regularization",
    "spectral_power",
    "method",
    "encoder",
    "encoder_kind",
    "prompt",
    "seed",
)


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "align",
        help="weigh a pool that you already have",
        description="Weigh the rows of a pool, and say whether they are worth training on beside the real"
        " rows. FOLDER gets weights.npy (what each row of the pool counts for in training, where each real"
        " row counts 1), resampled.jsonl (rows drawn by them, with all their columns), distribution.npy"
        " (weights of distribution matching alone), mixture.json and alignment.json (how both were found) and"
        " report.html. --real and --synthetic are files, folders of shards, patterns or URLs of JSONL, JSON,"
        " CSV, TSV, Parquet or Arrow with a column 'text' or 'embedding' and perhaps 'label', or .npy.",
        usage="%(prog)s [-h] --real FILE --synthetic FILE --out FOLDER [OPTION ...]",
        epilog=EXAMPLE,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--real", required=True, metavar="FILE", help="the real rows")
    parser.add_argument("--synthetic", required=True, metavar="FILE", help="the pool")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go; may be a URL")
    parser.add_argument(
        "--weights",
        choices=("student", "distribution"),
        default="student",
        help="student: chosen by cross-validated loss of a student, 0 where the pool is not worth using"
        " (needs labels); distribution: those of distribution matching alone",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="of the pool: what a row comes from (generator, prompt, attribute); then weights that are equal"
        " within each of its values are judged too, to compare",
    )
    parser.add_argument(
        "--size", type=int, metavar="N", help="rows to draw (default: what the weights count for together)"
    )
    parser.add_argument("--repeats", action="store_true", help="rows drawn may repeat: nearer to the weights")
    parser.add_argument("--regularization", default="auto", metavar="GAMMA", help="'auto' or a number")
    parser.add_argument(
        "--spectral-power",
        default="auto",
        metavar="P",
        help="how much more the pool's leading principal components count: 'auto' or a number, 0 for not",
    )
    parser.add_argument("--method", default="auto", help="auto, exact, landmarks or projections")
    parser.add_argument(
        "--max-steps", type=int, default=4_000, metavar="N", help="of the solver, a label (default: 4000)"
    )
    parser.add_argument(
        "--resampled",
        default="resampled.jsonl",
        metavar="NAME",
        help="of the file of drawn rows; .jsonl, .csv, .tsv or .parquet (default: resampled.jsonl)",
    )
    parser.add_argument(
        "--duplicates",
        default="keep",
        choices=("keep", "drop", "down-weight"),
        help="rows of the pool that repeat others: as any row (default), left out, or one weight for all",
    )
    parser.add_argument(
        "--duplicate-threshold",
        type=float,
        default=0.7,
        metavar="J",
        help="Jaccard similarity of word pairs from which two texts are one (default 0.7)",
    )
    for name, which in (
        ("leaks", "rows of the pool that copy a real row"),
        ("conflicts", "rows of the pool whose text another row has under another label"),
    ):
        parser.add_argument(f"--{name}", default="keep", choices=("keep", "drop"), help=which)
    add_options(parser, ("real", "synthetic"))
    machines.add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="decides folds and draws (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing
    from synalign_jax.pipeline.data.written import FORMATS
    from synalign_jax.pipeline.together import alone

    others = tuple(f"resampled{suffix}" for suffix in FORMATS)
    with (
        machines.joined(options) as ours,
        outgoing(options.out, cache_folder, deliver=ours.first, gone=others) as here,
        alone(here, ours.first),
    ):
        options.place, options.out = options.out, str(here)
        return _align(options, ours)


def _align(options: argparse.Namespace, ours: machines.Machines) -> int:
    import jax

    from synalign_jax.api.pool_report import unmeasured
    from synalign_jax.core.checks import InputError
    from synalign_jax.evaluation.report import write_report
    from synalign_jax.evaluation.report.facts import Stage
    from synalign_jax.pipeline.data.written import check_format
    from synalign_jax.pipeline.progress import Steps, Terminal
    from synalign_jax.pipeline.stages.align import mix_rows
    from synalign_jax.pipeline.together import Together, recover

    from .pool_report import pool_facts
    from .pool_rows import groups_of, read_pair, unfinished
    from .pool_summary import tell

    terminal = Terminal(quiet=not ours.first)
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; name a folder")
    recover(out)
    check_format(options.resampled, "--resampled")
    if Path(options.resampled).name != options.resampled:
        raise InputError(f"--resampled: {options.resampled} is no plain name; the file lies in --out")
    gamma = _number("--regularization", options.regularization)
    power = _number("--spectral-power", options.spectral_power)
    times = [time.monotonic()]
    pair = read_pair(options, terminal, out, ours)
    for side in pair.intake:
        print("\n".join(side.lines()))
    pool = pair.pool
    groups = groups_of(pool, options.synthetic, options.group)
    if options.size is not None and not 1 <= options.size <= len(pool):
        raise InputError(f"--size: {options.size}; the pool has {len(pool)} rows, ask for 1 to that many")
    times.append(time.monotonic())
    align_key, draw_key, report_key = jax.random.split(jax.random.key(options.seed), 3)
    kept = unfinished(
        options,
        (gamma, power, options.method, options.max_steps, options.seed),
        (pair.real_vectors, pair.pool_vectors, *pair.labels),
    )
    if kept.found:
        terminal.say("Going on where an earlier call was stopped")
    found, notes = _weigh(pair, gamma, power, options, align_key, terminal, ours, kept)
    for note in (why := unmeasured(found)):
        terminal.say(f"Note: {note}")
    notes += why
    times.append(time.monotonic())
    mixture, heard = mix_rows(
        found,
        *pair.own_vectors,
        Steps(terminal, "Mix"),
        key=jax.random.fold_in(align_key, 1),
        labels=pair.judged_by,
        judge=options.weights == "student",
        nature=pair.real.nature,
        groups=groups,
        checkpoint=kept.further("mix", groups),
    )
    for note in heard:
        terminal.say(f"Note: {note}")
    notes += heard
    times.append(time.monotonic())
    with terminal.console.status("Drawing rows"):
        drawn = _draw(mixture.weights, pair, options, draw_key)
    times.append(time.monotonic())
    if not ours.first:
        return 0
    stages = [
        Stage(name, rows, end - start)
        for name, rows, (start, end) in zip(
            ("read and embed", "align", "mix", "resample"),
            (len(pair.real) + len(pool), len(pool), len(pool), len(drawn)),
            pairwise(times),
            strict=True,
        )
    ]
    with terminal.console.status("Writing the report"), Together() as files:
        facts = pool_facts(
            found,
            mixture,
            pair,
            drawn,
            report_key,
            place=options.place,
            resampled=options.resampled,
            group=options.group,
        )
        settings = {name: vars(options)[name] for name in _SETTINGS}
        facts = replace(facts, settings=settings, stages=tuple(stages), warnings=tuple(notes))
        _write(files, out, options.resampled, (found, mixture), pair, drawn)
        write_report(facts, files.path(out / "report.html"))
    kept.clear()
    tell((found, mixture), facts.distance, drawn, options.place, options.resampled)
    return 0


def _weigh(
    pair: Pair,
    gamma: float | str,
    power: float | str,
    options: argparse.Namespace,
    key: PRNGKeyArray,
    terminal: Terminal,
    ours: machines.Machines,
    kept: FileCheckpoint,
) -> tuple[Alignment, list[str]]:
    """The alignment, and what its user must hear of it."""
    from synalign_jax.core.align.memory import alignment_memory
    from synalign_jax.pipeline.progress import Steps
    from synalign_jax.pipeline.stages.align import weigh

    real_labels, pool_labels = pair.labels
    largest = len(pair.pool) if pool_labels is None else max(Counter(pool_labels).values())
    if options.method != "projections":
        width = pair.pool_vectors.shape[1]
        terminal.say(f"Memory: {alignment_memory(len(pair.real), largest, width, method=options.method)}")
    found, notes = weigh(
        pair.real_vectors,
        pair.pool_vectors,
        Steps(terminal, "Align"),
        key=key,
        real_labels=real_labels,
        synthetic_labels=pool_labels,
        regularization=gamma,
        spectral_power=power,
        method=options.method,
        max_steps=options.max_steps,
        mesh=ours.mesh,
        checkpoint=kept,
    )
    for note in notes:
        terminal.say(f"Note: {note}")
    if not found.converged:
        notes.append(f"the weights are not at their optimum: {found.status}")
    return found, notes


def _draw(weights: np.ndarray, pair: Pair, options: argparse.Namespace, key: PRNGKeyArray) -> np.ndarray:
    """Positions of the rows drawn: none of a pool that is not worth using."""
    import numpy as np

    from synalign_jax.core.effective import effective_rows
    from synalign_jax.core.resample import resample

    if not weights.any():
        return np.zeros(0, int)
    worth = round(min(float(weights.sum()), effective_rows(weights)))
    size = options.size or max(1, min(worth, int(np.count_nonzero(weights))))
    drawn = resample(
        weights / weights.sum(),
        size,
        key=key,
        embeddings=pair.pool_vectors,
        labels=pair.labels[1],
        distinct=not options.repeats,
    )
    return np.sort(drawn)


def _number(name: str, text: str) -> float | str:
    from synalign_jax.core.checks import InputError

    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}: {text!r}; give 'auto' or a number from 0") from None


def _write(
    files: Together,
    out: Path,
    resampled: str,
    results: tuple[Alignment, Mixture],
    pair: Pair,
    drawn: np.ndarray,
) -> None:
    import numpy as np

    from synalign_jax.pipeline.data.written import FORMATS, write_rows

    from .pool_rows import drawn_rows

    found, mixture = results
    for name, weights in (("weights.npy", mixture.weights), ("distribution.npy", found.weights)):
        with files.path(out / name).open("wb") as file:
            np.save(file, pair.file_weights(weights), allow_pickle=False)
    for suffix in FORMATS:
        # An earlier call's rows in another format would not belong to these weights.
        if f"resampled{suffix}" != resampled and resampled.startswith("resampled."):
            files.remove(out / f"resampled{suffix}")
    rows, names = drawn_rows(pair.pool, drawn, mixture.weights)
    write_rows(files.path(out / resampled), rows, resampled, names)
    numbers = {**found.summary(), "inputs": [side.plain() for side in pair.intake]}
    for name, summary in (("alignment.json", numbers), ("mixture.json", mixture.summary())):
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        files.path(out / name).write_text(text, encoding="utf-8")
