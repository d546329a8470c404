"""synalign status: how far a run is, from its folder; a look disturbs no run under way."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "status",
        help="how far a run is: stage, rows, calls, money, distance, why it stopped",
        description="Show how far a run is, and the first rows that it has written. A look disturbs no run"
        " that is under way.",
        epilog="Example:  synalign status runs/demo\n          synalign status runs/demo --rows 20",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", metavar="RUN", help="the run's folder")
    parser.add_argument("--rows", type=int, default=3, metavar="N", help="rows to show (default: 3)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.pipeline.folder import open_finished
    from synalign_jax.pipeline.run import STAGES

    open_finished(options.folder)
    folder = Path(options.folder)
    done = [stage.name for stage in STAGES if (folder / "done" / f"{stage.name}.json").exists()]
    left = [stage.name for stage in STAGES if stage.name not in done]
    print(f"stage      {f'{left[0]} ({len(done)} of {len(STAGES)} done)' if left else 'all done'}")
    loop = folder / "loop.json"
    if loop.is_file():
        _show_loop(json.loads(loop.read_text(encoding="utf-8")))
    _show_ledger(folder / "ledger.sqlite")
    _show_rows(folder / "synthetic.parquet", options.rows)
    return 0


def _show_loop(loop: dict[str, Any]) -> None:
    wanted = loop["wanted"]
    rows = ", ".join(f"{label or 'all'} {count}/{wanted[label]}" for label, count in loop["rows"].items())
    print(f"rows       {sum(loop['rows'].values())} of {sum(wanted.values())} ({rows})")
    for reason, count in sorted(loop["rejected"].items(), key=lambda item: -item[1]):
        print(f"  dropped  {count} ({reason})")
    losses = dict.fromkeys(("loss", "loss_alone", "loss_gain"))  # older runs have none
    waves = [{**losses, **wave} for wave in loop["waves"] if wave["distance"] is not None]
    if waves:
        names, ahead = f"{'wave':>5} {'rows':>7} {'calls':>7} {'cost':>9}", f"{'gain ahead':>11}"
        print(f"{'':<11}{names} {'held-out MMD²':>14} {ahead} {'student loss':>13} {ahead}")
    for wave in waves[-8:]:
        cost = "-" if wave["cost"] is None else f"{wave['cost']:.4g}"
        gain, loss_gain = (
            "-" if wave[name] is None else f"{wave[name]:.1%}" for name in ("gain", "loss_gain")
        )
        loss = "-" if wave["loss"] is None else f"{wave['loss']:.4f}"
        print(
            f"{'':<11}{wave['wave']:>5} {wave['rows']:>7} {wave['calls']:>7} {cost:>9}"
            f" {wave['distance']:>14.5f} {gain:>11} {loss:>13} {loss_gain:>11}"
        )
    if waves:
        print(f"noise band {waves[-1]['band']:.5f}")
    if waves and waves[-1]["loss_alone"] is not None:
        print(f"real alone {waves[-1]['loss_alone']:.4f} (student loss without the new rows)")
    if loop["ended"]:
        print(f"ended      {loop['ended']}")


def _show_ledger(path: Path) -> None:
    if not path.is_file():
        return
    from synalign_jax.llm.ledger import Ledger

    with Ledger(path) as ledger:
        summary, batches = ledger.summary(), ledger.batches()
    tokens = summary.usage.prompt_tokens + summary.usage.completion_tokens
    print(f"requests   {summary.answered} answered, {summary.dead} given up, {summary.in_flight} in flight")
    for batch in batches:
        name, hours = batch.remote or "in the making", (time.time() - batch.started) / 3600
        print(
            f"batch      {name} ({batch.word or 'not looked at yet'}, {hours:.1f} h old): {batch.done} of"
            f" {batch.total} done, {batch.failed} failed; {batch.left} not on record yet"
        )
    # Without prices nothing is known of it, and 0 would say that it was free.
    print(f"tokens     {tokens:,}" + (f", cost {summary.cost:.6g}" if summary.cost else ""))


def _show_rows(path: Path, count: int) -> None:
    if not path.is_file() or count < 1:
        return
    import pyarrow.parquet as pq

    for row in pq.read_table(path, columns=["label", "text"]).slice(0, count).to_pylist():
        # An endpoint's text must not steer the terminal.
        text = "".join(c if c.isprintable() else "�" for c in f"{row['label']}: {row['text']}")
        print(f"  {text[:200]}")
