"""The synalign program: parse, call, and turn what went wrong into one clear message."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator

from synalign_jax.commands import COMMANDS


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="synalign",
        description="Have an LLM write rows like your real ones, and weight them until they are"
        " distributed like them.",
        epilog="Start with: synalign demo",
    )
    result.set_defaults(again="To go on where it stopped")
    result.add_argument("--version", action=_Version, nargs=0, help="show the versions and stop")
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = result.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.register(subparsers)
    return result


class _Version(argparse.Action):
    """Looked up when asked for, which costs more time than parsing does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        python = ".".join(map(str, sys.version_info[:3]))
        print(f"synalign-jax {version('synalign-jax')}, jax {version('jax')}, Python {python}")
        parser.exit()


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns 0, 1 for an error that the user can mend, 130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else arguments
    # --debug may stand anywhere.
    debug = "--debug" in words
    known = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next; see commands/completion.py
        import argcomplete

        argcomplete.autocomplete(known)
    options = known.parse_args([word for word in words if word != "--debug"])
    if options.command is None:
        known.print_help(sys.stderr)
        return 2
    try:
        with _heard_everywhere():
            return options.run(options)
    except KeyboardInterrupt:
        print(f"\nStopped. {options.again}: {shlex.join(['synalign', *words])}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (as `| head` does): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"synalign: {_explained(error)}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _heard_everywhere() -> Iterator[None]:
    """Python drops what is raised in a finalizer, a Ctrl-C too: there it is sent again."""
    usual = sys.unraisablehook
    sent: list[threading.Timer] = []

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            return usual(dropped)
        # Not from here: what is raised in this function is dropped as well.
        sent.append(threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)))
        sent[-1].daemon = True
        sent[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for again in sent:
            again.cancel()


def _explained(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f"{error.filename}: " if error.filename else ""
            text = f"{where}the disk is full; free some space and start again"
    if type(error).__module__.split(".")[0] in ("synalign_jax", "synalign_adapters") or isinstance(
        error, OSError
    ):
        return text
    return (
        f"unexpected {type(error).__name__}: {text}\nRun again with --debug for the traceback, and report it."
    )
