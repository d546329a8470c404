"""synalign evaluate: compare any pool with real rows, or evaluate a finished run again."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import HelpFormatter
from .rows import add_options, embed_rows, open_encoder, read_rows

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.evaluation.report.facts import ReportFacts
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
        usage="%(prog)s [-h] --real FILE --synthetic FILE [OPTION ...]\n"
        "       %(prog)s [-h] folder [--seeds SEEDS]",
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
    parser.add_argument("--out", metavar="FILE", help="where the numbers go, as JSON; may be a URL")
    parser.add_argument("--report", metavar="FILE", help="an HTML report of them and of the rows; or a URL")
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
    parser.add_argument(
        "--by", nargs="+", default=[], metavar="COLUMN", help="columns whose values' shares are compared"
    )
    add_options(parser, ("real", "synthetic", "test"))
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
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing
    from synalign_jax.pipeline.progress import Terminal

    with contextlib.ExitStack() as places:
        out, report = (
            places.enter_context(outgoing(place, cache_folder)) if place else None
            for place in (options.out, options.report)
        )
        _check_out("--out", out)
        _check_out("--report", report)
        found, facts = _evaluate(options, Terminal())
        print(found)
        if facts is not None and report is not None:
            from synalign_jax.evaluation.report import write_report

            write_report(facts, report)
        if out is not None:
            from synalign_jax.pipeline.folder import replacing

            with replacing(out) as path:
                path.write_text(found.to_json(), encoding="utf-8")
    # Only now are they where they were asked for.
    if options.report:
        print(f"\nReport: {options.report}")
    if options.out:
        print(f"\nNumbers: {options.out}")
    return 0


def _evaluate(options: argparse.Namespace, terminal: Terminal) -> tuple[Evaluation, ReportFacts | None]:
    import jax

    from synalign_jax.api.evaluation_report import evaluation_facts
    from synalign_jax.evaluation.evaluate import evaluate
    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.progress import Steps

    sides = {"real": options.real, "synthetic": options.synthetic, "test": options.test}
    paths = {side: path for side, path in sides.items() if path}
    with tempfile.TemporaryDirectory(prefix="synalign-") as scratch:
        tables = {
            side: read_rows(path, options, terminal, Path(scratch), side) for side, path in paths.items()
        }
        labels = _labels(tables, paths)
        weights = _weights(options.weights, tables["synthetic"], options.synthetic)
        found, source = embed_rows([(paths[side], tables[side]) for side in paths], options, terminal)
        vectors = dict(zip(paths, found, strict=True))
        intake = [intake_of(f"{side} rows", table, vectors=source) for side, table in tables.items()]
        print("\n".join(line for side in intake for line in side.lines()))
        test = tables.get("test")
        with Steps(terminal, "Evaluate") as steps:
            result = evaluate(
                vectors["real"],
                vectors["synthetic"],
                key=jax.random.key(options.seed),
                real_labels=labels["real"],
                pool_labels=labels["synthetic"],
                weights=weights,
                test=vectors.get("test"),
                test_labels=labels.get("test"),
                real_texts=tables["real"].texts,
                pool_texts=tables["synthetic"].texts,
                test_texts=None if test is None else test.texts,
                attributes=_attributes(options.by, tables, paths),
                students=options.students,
                encoder=_encoder(options, tables, paths) if "encoder" in options.students else None,
                overlapping="drop" if options.drop_overlap else "refuse",
                seeds=16 if options.seeds is None else options.seeds,
                on_progress=steps,
            )
        if not options.report:
            return result, None
        with terminal.console.status("Writing the report"):
            real, pool = (_relabelled(tables[side], labels[side]) for side in ("real", "synthetic"))
            both = vectors["real"], vectors["synthetic"]
            report_key = jax.random.key(options.seed)
            return result, evaluation_facts(result, real, pool, both, weights, intake, report_key)


def _labels(tables: dict[str, Table], paths: dict[str, str]) -> dict[str, Any]:
    """Labels of every side in the spelling of the real rows; a tuple a row where it may have several."""
    from synalign_jax.core.checks import InputError
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.labels import match_label_sets, match_labels

    several = any(table.label_sets is not None for table in tables.values())
    match: Any = match_label_sets if several else match_labels
    labels: dict[str, Any] = {
        side: table.label_sets if several else table.labels for side, table in tables.items()
    }
    if all(own is None for own in labels.values()):
        return labels
    for side, own in labels.items():
        if own is None:
            raise InputError(
                f"{paths[side]}: no labels, yet another file has some; name the column with"
                f" --{side}-label, or give --no-labels"
            )
    real = labels["real"] or []
    for side in labels:
        try:
            names = tables["real"].class_names or tables[side].class_names
            labels[side] = match((paths["real"], real), (paths[side], labels[side] or []), names)[0]
        except DataError:  # a label is missing there: that is for the evaluation to say
            continue
    return labels


def _relabelled(table: Table, labels: Any) -> Table:
    from synalign_jax.pipeline.data.values import SEPARATOR

    if table.label_sets is None:
        return replace(table, labels=labels)
    return replace(table, labels=list(map(SEPARATOR.join, labels)), label_sets=labels)


def _attributes(
    names: list[str], tables: dict[str, Table], paths: dict[str, str]
) -> dict[str, tuple[list[str], list[str]]]:
    import numpy as np

    from synalign_jax.core.checks import InputError

    columns = {}
    for side in ("real", "synthetic"):
        missing = [name for name in names if name not in tables[side].others.names]
        if missing:
            known = ", ".join(tables[side].others.names) or "(none)"
            raise InputError(
                f"--by: {paths[side]} has no column {missing[0]!r}; its other columns are {known}"
            )
        rows = tables[side].others.take(np.arange(len(tables[side]))) if names else []
        columns[side] = {name: [str(row.get(name)) for row in rows] for name in names}
    return {name: (columns["real"][name], columns["synthetic"][name]) for name in names}


def _weights(path: str | None, pool: Table, synthetic: str) -> np.ndarray | None:
    import numpy as np

    from synalign_jax.core.checks import InputError

    if path is None:
        return None
    try:
        weights = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"--weights: {path}: no such file") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"--weights: {path}: not a whole .npy array ({error})") from error
    rows = len(pool) if pool.rows is None else pool.in_files
    if weights.shape != (rows,):
        raise InputError(
            f"--weights: {path} has shape {weights.shape}, and {synthetic} {rows:,} rows: give one a row, as"
            " weights.npy of `synalign align` on this very file is"
        )
    return weights if pool.rows is None else weights[pool.rows]


def _encoder(options: argparse.Namespace, tables: dict[str, Table], paths: dict[str, str]) -> Any:
    from synalign_jax.core.checks import InputError
    from synalign_jax.text.encoder import Encoder

    encoder = open_encoder(options)
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"--students encoder: {encoder.identity} is no network that is fine-tuned here;"
            " leave that student out, or name another --encoder"
        )
    for side, table in tables.items():
        if table.texts is None:
            raise InputError(f"{paths[side]}: no texts, which --students encoder is trained on")
    return encoder


def _check_out(option: str, out: Path | None) -> None:
    from synalign_jax.core.checks import InputError

    if out and out.is_dir():
        raise InputError(f"{option}: {out} is a folder; name a file")
    if out and not out.parent.is_dir():
        raise InputError(f"{option}: the folder {out.parent} is not there; make it first")
