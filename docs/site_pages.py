"""What the site takes from the code, so that it cannot fall behind: help texts, outputs, docstrings."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from synalign_jax.cli import parser

ROOT = Path(__file__).parent.parent


def _commands() -> str:
    """The help of every command, as the program prints it at 88 columns."""
    program = parser()
    listed = next(a for a in program._actions if isinstance(a, argparse._SubParsersAction))
    parts = []
    for name, command in listed.choices.items():
        command.formatter_class = _wide(command.formatter_class)
        parts.append(f"## synalign {name}\n\n```text\n{command.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def _wide(formatter: type) -> Any:
    return lambda prog: formatter(prog, width=88)


def _results() -> str:
    """The recorded output of every benchmark, and the script that prints it."""
    parts = []
    results = ROOT / "benchmarks" / "results"
    for path in sorted(results.rglob("*"), key=lambda path: path.name):
        where = f"../../benchmarks/results/{path.relative_to(results).as_posix()}"
        if path.suffix == ".svg":
            parts.append(f"## {path.name}\n\n![{path.stem}]({where})\n")
        elif path.suffix == ".txt":
            parts.append(f"## {path.name}\n\n:::{{literalinclude}} {where}\n:language: text\n:::\n")
    return "\n".join(parts)


def _chapters() -> str:
    """Every page that lies in docs/ itself, in the order of the work; a new one comes last."""
    order = ["data", "exploration", "llm", "embedding", "alignment", "worth", "evaluation"]
    found = {path.stem for path in Path(__file__).parent.glob("*.md")} - {"index"}
    return "\n".join([name for name in order if name in found] + sorted(found - set(order)))


FILLED = {
    "<!-- filled: chapters -->": _chapters,
    "<!-- filled: commands -->": _commands,
    "<!-- filled: results -->": _results,
}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    for mark, text in FILLED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, text())


def as_rst(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain prose: what reStructuredText would read as markup in formulas is escaped, and code
    between fences becomes a block of code.
    """
    done: list[str] = []
    fence = None
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("```"):
            indent = line[: len(line) - len(line.lstrip())]
            if fence is None:
                done += ["", f"{indent}.. code-block:: {stripped[3:] or 'text'}", ""]
            fence = indent if fence is None else None
        elif fence is not None:
            done.append(f"   {line}" if stripped else "")
        else:
            pieces = re.split(r"(`[^`]*`)", line)
            pieces[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", piece) for piece in pieces[::2]]
            done.append("".join(pieces))
    lines[:] = done


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: object) -> bool | None:
    """Fields of NamedTuples, which say nothing of themselves: the class describes them."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    # Before napoleon, whose output is markup.
    app.connect("autodoc-process-docstring", as_rst, priority=100)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
