"""synalign evaluate: evaluate a finished run again."""

from __future__ import annotations

import argparse

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="evaluate a run again, for example with more seeds",
        description="Repeat the evaluation and the report of a run; no LLM is called.",
        epilog="Example:  synalign evaluate runs/demo --seeds 50",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", help="the run's folder")
    parser.add_argument(
        "--seeds", type=int, help="repetitions of every student (default: as the run was set)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from .again import repeat

    return repeat(options.folder, ("evaluate", "report"), seeds=options.seeds)
