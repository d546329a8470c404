"""synalign preview: a few rows by the real endpoint, and what the whole run would cost."""

from __future__ import annotations

import argparse

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "preview",
        help="make a few rows, and say what the whole run would cost",
        description="Make a few rows with the endpoint of CONFIG: show prompts, attributes and rows, the"
        " share of usable rows, and what the whole run would cost in tokens, money and time. The run does"
        " not ask again for what was answered here.",
        epilog="Example:  synalign preview my.toml\n          synalign preview my.toml --rows 20",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("config", help="the run's settings, a TOML file; or the folder of a run that exists")
    parser.add_argument("--rows", type=int, default=5, metavar="N", help="rows to make (default 5)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.preview import preview

    print(preview(options.config, rows=options.rows))
    return 0
