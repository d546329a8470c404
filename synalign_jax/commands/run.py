"""synalign run: the whole job, from a TOML file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "run",
        help="the whole job, from a TOML file",
        description="Load real rows, explore them, have the LLM write new ones, align, evaluate and report."
        " Stopped or killed, the same command goes on where it stopped.",
        epilog="Example:  synalign demo --save my.toml   (writes a file to start from)\n"
        "          synalign run my.toml --dry-run\n"
        "          synalign run my.toml\n\n"
        "With [llm] batch = true the requests go in batches (OpenAI's Batch API): half the price,\n"
        "within a day. Stop the run whenever you like: the same command finds its batches again.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("config", help="the run's settings, a TOML file; or the folder of a run that exists")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="render every prompt, estimate tokens, cost and time, and send nothing to the LLM",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not options.dry_run:
        return run_and_print(options.config)
    from synalign_jax.api.settings import config_of
    from synalign_jax.api.wiring import tools_for
    from synalign_jax.pipeline.dryrun import dry_run

    config = config_of(options.config)
    estimate, prompts = dry_run(config, tools_for(config))
    print(estimate)
    print(f"\nEvery prompt: {prompts}")
    return 0


def run_and_print(config: str | Path) -> int:
    """Run, then print the short table and where the results are."""
    from synalign_jax.api.run import run as run_job
    from synalign_jax.pipeline.stages.report import summary

    result = run_job(config)
    print(summary(result.folder))
    print(f"\nReport:       {result.report}")
    print(f"Aligned rows: {result.folder / 'aligned.jsonl'}")
    return 0
