"""synalign evaluate: compare any pool with real rows, or evaluate a finished run again."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import HelpFormatter
from .rows import add_options, embed_rows, read_rows

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.evaluation.result import Evaluation
    from synalign_jax.pipeline.data.tables import Table
    from synalign_jax.pipeline.progress import Terminal


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="what a pool is worth beside real rows; or a run again",
        description="Compare a pool of synthetic rows, from anywhere, with real rows: students trained on"
        " each and on both, distance, likeness, variety, wording, copied rows. With a run's FOLDER, repeat"
        " the evaluation and the report of that run. No LLM is called.",
        epilog=(
            "Examples:\n"
            "  synalign evaluate --real real.jsonl --synthetic pool.jsonl\n"
            "  synalign evaluate --real real.csv --synthetic pool.csv --weights aligned/weights.npy \\\n"
            "      --test test.csv --out evaluation.json\n"
            "  synalign evaluate runs/demo --seeds 50\n\n"
            "Without --test a third of the real rows is set aside for the students. Rows of --test that\n"
            "are also real or synthetic rows are refused, or with --drop-overlap not trained on."
        ),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", nargs="?", help="the folder of a run")
    parser.add_argument("--real", metavar="FILE", help="the real rows")
    parser.add_argument("--synthetic", metavar="FILE", help="the pool")
    parser.add_argument("--weights", metavar="FILE", help=".npy, a weight for each row of the pool")
    parser.add_argument("--test", metavar="FILE", help="real rows that nothing was made or chosen by")
    parser.add_argument("--out", metavar="FILE", help="where the numbers go, as JSON")
    parser.add_argument(
        "--students",
        nargs="+",
        default=["linear", "mlp"],
        metavar="NAME",
        help="of linear, mlp and encoder, which is fine-tuned and takes minutes (default: linear mlp)",
    )
    parser.add_argument(
        "--drop-overlap", action="store_true", help="do not train on rows that are test rows, too"
    )
    parser.add_argument(
        "--seeds", type=int, help="students behind each interval (default: 16, or as the run was set)"
    )
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="decides draws and starts (default 0)")
    parser.set_defaults(run=run, again="To start again, with vectors that were computed kept")


def run(options: argparse.Namespace) -> int:
    from synalign_jax.core.checks import InputError

    if options.folder is not None:
        if options.real or options.synthetic:
            raise InputError("give a run's FOLDER, or --real and --synthetic, not both")
        from .again import repeat

        return repeat(options.folder, ("evaluate", "report"), seeds=options.seeds)
    if not options.real or not options.synthetic:
        raise InputError(
            "nothing to evaluate: give --real FILE and --synthetic FILE, or the FOLDER of a run (--help has"
            " examples)"
        )
    from synalign_jax.pipeline.progress import Terminal

    _check_out(options.out)
    found = _evaluate(options, Terminal())
    print(found)
    if options.out:
        from synalign_jax.pipeline.folder import replacing

        with replacing(Path(options.out)) as path:
            path.write_text(found.to_json(), encoding="utf-8")
        print(f"\nNumbers: {options.out}")
    return 0


def _evaluate(options: argparse.Namespace, terminal: Terminal) -> Evaluation:
    import jax

    from synalign_jax.evaluation.evaluate import evaluate
    from synalign_jax.pipeline.progress import Steps

    paths = [options.real, options.synthetic] + ([options.test] if options.test else [])
    with tempfile.TemporaryDirectory(prefix="synalign-") as scratch:
        tables = [read_rows(path, options, terminal, Path(scratch)) for path in paths]
        weights = _weights(options.weights, len(tables[1]), options.synthetic) if options.weights else None
        vectors = embed_rows(list(zip(paths, tables, strict=True)), options, terminal)
        real, pool, *test = zip(tables, vectors, strict=True)
        more: dict[str, Any] = {}
        if test:
            (of_test, test_vectors) = test[0]
            more = {"test": test_vectors, "test_labels": of_test.labels, "test_texts": of_test.texts}
        if "encoder" in options.students:
            more["encoder"] = _encoder(options, tables, paths)
        return evaluate(
            real[1],
            pool[1],
            key=jax.random.key(options.seed),
            real_labels=_labels(real[0], pool[0], options),
            pool_labels=pool[0].labels,
            weights=weights,
            real_texts=real[0].texts,
            pool_texts=pool[0].texts,
            students=options.students,
            overlapping="drop" if options.drop_overlap else "refuse",
            seeds=16 if options.seeds is None else options.seeds,
            on_progress=Steps(terminal, "Evaluate"),
            **more,
        )


def _labels(real: Table, pool: Table, options: argparse.Namespace) -> list[str] | None:
    from synalign_jax.core.checks import InputError

    if (real.labels is None) != (pool.labels is None):
        lacking = options.real if real.labels is None else options.synthetic
        raise InputError(
            f"{lacking}: no column '{options.label}', yet the other file has one; add or drop it"
        )
    return real.labels


def _weights(path: str, rows: int, synthetic: str) -> np.ndarray:
    import numpy as np

    from synalign_jax.core.checks import InputError

    try:
        weights = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"--weights: {path}: no such file") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"--weights: {path}: not a whole .npy array ({error})") from error
    if weights.shape != (rows,):
        raise InputError(
            f"--weights: {path} has shape {weights.shape}, and {synthetic} {rows:,} rows: give one a row, as"
            " weights.npy of `synalign align` on this very file is"
        )
    return weights


def _encoder(options: argparse.Namespace, tables: list[Table], paths: list[str]) -> Any:
    from synalign_jax.core.checks import InputError
    from synalign_jax.text.encoder import Encoder

    for path, table in zip(paths, tables, strict=True):
        if table.texts is None:
            raise InputError(f"{path}: no column '{options.text}', which --students encoder is trained on")
    return Encoder.from_pretrained(options.encoder)


def _check_out(out: str | None) -> None:
    from synalign_jax.core.checks import InputError

    if out and Path(out).is_dir():
        raise InputError(f"--out: {out} is a folder; name a file")
    if out and not Path(out).parent.is_dir():
        raise InputError(f"--out: the folder {Path(out).parent} is not there; make it first")
