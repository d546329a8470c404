"""synalign run: the whole job, from a TOML file."""

from __future__ import annotations

import argparse

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "run",
        help="the whole job, from a TOML file",
        description="Load real rows, explore them, have the LLM write new ones, align, evaluate and report."
        " Stopped or killed, the same command goes on where it stopped.",
        epilog="Example:  synalign demo --save my.toml   (writes a file to start from)\n"
        "          synalign run my.toml --dry-run\n"
        "          synalign run my.toml",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("config", help="the run's settings, a TOML file")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="render every prompt, estimate tokens, cost and time, and send nothing to the LLM",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.pipeline.config_file import load_config

    config = load_config(options.config)
    if options.dry_run:
        return _dry_run(config)
    return run_config(config)


def _dry_run(config) -> int:
    from synalign_jax.pipeline.dryrun import dry_run

    from .wiring import tools_for

    estimate, prompts = dry_run(config, tools_for(config))
    print(estimate)
    print(f"\nEvery prompt: {prompts}")
    return 0


def run_config(config) -> int:
    """Run, then print the short table and the report's path."""
    from synalign_jax.pipeline.run import run as run_pipeline
    from synalign_jax.pipeline.stages.report import summary

    from .wiring import tools_for

    report = run_pipeline(config, tools_for(config))
    print(summary(report.parent))
    print(f"\nReport:       {report}")
    print(f"Aligned rows: {report.parent / 'aligned.jsonl'}")
    return 0
