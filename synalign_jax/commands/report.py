"""synalign report: write a run's report again."""

from __future__ import annotations

import argparse

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "report",
        help="write the report of a run again",
        description="Write the HTML report of a run again from what its folder holds.",
        epilog="Example:  synalign report runs/demo",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", help="the run's folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from .again import repeat

    return repeat(options.folder, ("report",))
