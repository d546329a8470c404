"""synalign explore: choose demonstration clusters from a file, with no LLM."""

from __future__ import annotations

import argparse
import json
from pathlib import Path, PurePosixPath
from typing import Any

from . import machines
from .layout import HelpFormatter
from .rows import add_options, embed_rows, read_rows


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "explore",
        help="choose the rows of a file that show most of it",
        description="Choose clusters of rows that together leave as little as possible unknown of DATA.",
        usage="%(prog)s [-h] data --rounds ROUNDS --out OUT [OPTION ...]",
        epilog=(
            "Examples:\n"
            "  synalign explore reviews.csv --rounds 20 --out clusters.jsonl\n"
            "  synalign explore news.parquet --rounds 5 --by-label --neighbors 0 --out clusters.jsonl\n"
            "  synalign explore vectors.npy --rounds 30 --acquisition max_variance --out clusters.jsonl\n\n"
            "Each line of the output is a cluster: its row numbers (the centre first), its label, its texts\n"
            "where DATA has them, and the centre's posterior variance. A picture of the chosen rows over\n"
            "the pool's first two principal components is written beside it."
        ),
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "data",
        help="a file, folder of shards or pattern: JSONL, JSON, CSV, TSV, Parquet, Arrow, or .npy embeddings",
    )
    parser.add_argument("--rounds", type=int, required=True, help="clusters to choose (for each label)")
    parser.add_argument("--neighbors", type=int, default=3, help="rows beside each centre (default: 3)")
    parser.add_argument(
        "--out", required=True, help="where the clusters go, one JSON object a line; may be a URL"
    )
    parser.add_argument("--picture", help="SVG file (default: beside --out)")
    parser.add_argument(
        "--acquisition",
        default="auto",
        choices=("auto", "max_variance", "integrated_variance", "rim_variance"),
        help="max_variance is the paper's rule; auto is rim_variance, which covers real pools best",
    )
    parser.add_argument("--project", default="auto", help="PCA dimensions to choose in, auto or none")
    parser.add_argument("--length-scale", type=float, help="of the RBF kernel (default: from the data)")
    parser.add_argument("--by-label", action="store_true", help="choose for every label on its own")
    parser.add_argument("--observed", help="file of rows seen elsewhere, to be avoided")
    add_options(parser)
    machines.add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.set_defaults(run=run, again="To start again, with vectors that were computed kept")


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing

    if options.picture is None:
        options.picture = f"{options.out.removesuffix(PurePosixPath(options.out).suffix)}.svg"
    with (
        machines.joined(options) as ours,
        outgoing(options.out, cache_folder, deliver=ours.first) as out,
        outgoing(options.picture, cache_folder, deliver=ours.first) as picture,
    ):
        return _explore(options, ours, out, picture)


def _explore(options: argparse.Namespace, ours: machines.Machines, out: Path, picture: Path) -> int:
    import jax

    from synalign_jax.core.checks import InputError
    from synalign_jax.core.explore.exploration import COMPLETE
    from synalign_jax.core.explore.explore import explore
    from synalign_jax.core.kernels import rbf
    from synalign_jax.evaluation.figures import selection_figure
    from synalign_jax.evaluation.svg import document
    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.progress import Steps, Terminal
    from synalign_jax.pipeline.together import Together

    terminal = Terminal(quiet=not ours.first)
    paths = [options.data] if options.observed is None else [options.data, options.observed]
    files = [(path, read_rows(path, options, terminal, out.parent, ours=ours)) for path in paths]
    table = files[0][1]
    if options.by_label and table.labels is None:
        raise InputError(
            f"{options.data}: --by-label needs a column {options.label or 'label'!r}; --label names another"
        )
    (vectors, *observed), source = embed_rows(files, options, terminal, ours)
    print("\n".join(intake_of("rows", table, vectors=source).lines()))
    with Steps(terminal, "Explore") as steps:
        found = explore(
            vectors,
            rounds=options.rounds,
            neighbors=options.neighbors,
            key=jax.random.key(options.seed),
            kernel=None if options.length_scale is None else rbf(options.length_scale),
            acquisition=options.acquisition,
            project=_project(options.project),
            labels=table.labels if options.by_label else None,
            observed=observed[0] if observed else None,
            mesh=ours.mesh,
            on_progress=steps,
        )
    if not ours.first:
        return 0
    with Together() as parts:
        with parts.path(out).open("w", encoding="utf-8") as file:
            for cluster, variance in zip(found.clusters.tolist(), found.variance.tolist(), strict=True):
                file.write(json.dumps(_record(cluster, variance, table), ensure_ascii=False) + "\n")
        svg = document(selection_figure(vectors, found.clusters))
        parts.path(picture).write_text(svg, encoding="utf-8")
    size = found.clusters.shape[1]
    print(f"{len(found.clusters)} clusters of {size} rows from {len(vectors):,}: {options.out}")
    print(f"picture: {options.picture}")
    if found.status != COMPLETE:
        print(f"stopped before all rounds were done: {found.status}")
    return 0


def _project(setting: str) -> int | str | None:
    if setting == "none":
        return None
    return int(setting) if setting.isdigit() else setting


def _record(cluster: list[int], variance: float, table: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"rows": [table.position(row) for row in cluster], "variance": variance}
    if table.labels is not None:
        record["label"] = table.labels[cluster[0]]
    if table.texts is not None:
        record["texts"] = [table.texts[row] for row in cluster]
    return record
