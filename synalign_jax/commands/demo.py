"""synalign demo: `synalign run` on the settings that come with the package."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="the whole job on 200 real film reviews and a small embedded LLM",
        description="Run the whole job on embedded defaults: 'synalign run' on a file that you can save, edit"
        " and point at your own rows and endpoint.",
        epilog="Example:  synalign demo\n          synalign demo --save my.toml",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--save", metavar="FILE", help="write the settings to FILE and stop there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.pipeline.config import ConfigError

    from .run import run_and_print

    text = resources.files("synalign_jax").joinpath("configs/demo.toml").read_text(encoding="utf-8")
    if options.save:
        target = Path(options.save)
        try:
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise ConfigError(f"{target} exists already; name another file") from error
        print(f"Wrote {target}. Edit it, then: synalign run {target}")
        return 0
    # Beside the user, not inside the package: paths in a config count from the config's own folder.
    config = Path("synalign-demo.toml")
    if not config.exists():
        config.write_text(text, encoding="utf-8")
        print(f"The settings of this run are in {config}")
    return run_and_print(config)
