"""synalign completion: what makes a shell complete synalign's commands and options."""

from __future__ import annotations

import argparse

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="let your shell complete commands and options",
        description="Print the code that makes a shell complete synalign's commands, options and files.",
        epilog="Example:  synalign completion bash >> ~/.bashrc\n"
        "          synalign completion zsh >> ~/.zshrc\n"
        "          synalign completion fish > ~/.config/fish/completions/synalign.fish",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["synalign"], shell=options.shell))
    return 0
