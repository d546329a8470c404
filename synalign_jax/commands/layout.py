"""What the commands' parsers share: how help texts are laid out, and where results may go."""

from __future__ import annotations

import argparse


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs to the terminal; text broken into lines by hand, as examples are, stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def here(path: str) -> str:
    """A path on this machine: files take their places together, which no other system promises."""
    if "://" in path:
        raise argparse.ArgumentTypeError(
            f"{path} is on another system; this command writes to this machine: name a path here and copy it"
        )
    return path
