"""synalign ledger: what was asked, what came of it, what it cost; and another chance for what failed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .layout import HelpFormatter

if TYPE_CHECKING:
    from synalign_jax.llm.ledger import Ledger


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "ledger",
        help="the requests of a run: outcomes, failures, cost; retry what failed",
        description="Show what became of a run's requests and what they cost. A look disturbs no run that is"
        " under way.",
        epilog="Example:  synalign ledger runs/demo\n"
        "          synalign ledger runs/demo --failures\n"
        "          synalign ledger runs/demo --retry bad_answer   then start the run again",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", metavar="RUN", help="a run folder, or a ledger file")
    parser.add_argument(
        "--failures",
        nargs="?",
        const="all",
        metavar="KIND",
        help="list the requests that were given up, with the reason and what the endpoint sent last",
    )
    parser.add_argument(
        "--retry",
        nargs="?",
        const="all",
        metavar="KIND",
        help="open the given-up requests (of one kind) again: the next `synalign run` asks for them",
    )
    parser.add_argument(
        "--forget-batches",
        action="store_true",
        help="give up batches that are waited for ([llm] batch = true): the next `synalign run` asks their"
        " requests anew, though the endpoint may charge for the batches too",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.llm.ledger import Ledger, LedgerError
    from synalign_jax.pipeline.run import reopen

    path = Path(options.folder)
    path = path / "ledger.sqlite" if path.is_dir() else path
    if not path.is_file():
        raise LedgerError(f"{path}: no such ledger; name a run folder that has asked an LLM")
    with Ledger(path) as ledger:
        if options.forget_batches:
            print(
                f"{ledger.forget_batches()} request(s) are in no batch any more; the next run asks for them"
            )
        elif options.retry:
            kind = None if options.retry == "all" else options.retry
            if (path.parent / "config.json").is_file() and any(True for _ in ledger.dead_letters(kind)):
                reopen(path.parent)
            count = ledger.revive(kind)
            print(
                f"{count} request(s) opened again; start the run again to ask for them"
                if count
                else "no such request was given up, so there is none to ask again"
            )
        elif options.failures:
            _show_failures(ledger, None if options.failures == "all" else options.failures)
        else:
            _show_summary(ledger)
    return 0


def _show_summary(ledger: Ledger) -> None:
    from rich.console import Console
    from rich.table import Table

    summary = ledger.summary()
    table = Table(title=str(ledger.path), show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    rows: list[tuple[str, int | float]] = [
        ("answered", summary.answered),
        ("given up", summary.dead),
        ("not answered yet", summary.open),
        ("in flight now", summary.in_flight),
        *([("in batches at the endpoint", summary.batched)] if summary.batched else []),
        ("attempts", summary.attempts),
        *((f"  that failed: {kind}", count) for kind, count in summary.failures.items()),
        ("  cut off by a kill", summary.lost),
        ("prompt tokens", summary.usage.prompt_tokens),
        ("completion tokens", summary.usage.completion_tokens),
        ("cost", round(summary.cost, 6)),
    ]
    if summary.maybe_paid:
        rows.append(("attempts that may have been paid for in vain", summary.maybe_paid))
        rows.append(("  tokens at most", summary.maybe_tokens))
        rows.append(("  cost at most", round(summary.maybe_cost, 6)))
    for name, value in rows:
        table.add_row(name, f"{value:,}")
    Console(highlight=False).print(table)
    if summary.dead:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary.dead_by_kind.items())
        print(f"Given up: {kinds}. See them with --failures, ask again with --retry.")


def _show_failures(ledger: Ledger, kind: str | None) -> None:
    count = 0
    for letter in ledger.dead_letters(kind):
        count += 1
        print(f"{letter.key}  {letter.kind}, {letter.attempts} attempt(s): {_line(letter.reason)}")
        print(f"  asked: {_line(letter.request['messages'][-1][1])}")
        if letter.raw:
            print(f"  last answer: {_line(letter.raw)}")
    print(f"{count} request(s) given up" + (f" for {kind}" if kind else ""))


def _line(text: str) -> str:
    """The start of a text as one printable line: an endpoint's bytes must not steer the terminal."""
    shown = " ".join(text[:2000].split())
    shown = "".join(c if c.isprintable() else "�" for c in shown)
    return shown if len(shown) <= 300 else shown[:299] + "…"
