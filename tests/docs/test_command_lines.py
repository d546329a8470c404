"""Every command line of the README and the documentation parses, and the scripts that they name are there."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT, name_of

from synalign_jax.cli import parser
from synalign_jax.commands import COMMANDS
from synalign_jax.pipeline.config_file import parse_config

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
# What stands for one of a few words where the parser wants one of them.
PLACEHOLDERS = {"SHELL": "bash"}
NAMES = {module.__name__.rsplit(".", 1)[1] for module in COMMANDS}


def _blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for language, body in FENCE.findall(text) if language in languages]


def _lines(page: Path) -> list[str]:
    """Lines of shell blocks, and inline code that is more than a command's name."""
    shell = "\n".join(_blocks(page, "", "sh", "bash", "console", "shell")).replace("\\\n", " ")
    spans = SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    found = [line.strip().removeprefix("$ ") for line in [*shell.splitlines(), *spans]]
    return [line for line in found if re.match(r"(\./|\.venv/bin/)?(synalign |scripts/|python )", line)]


def _words(line: str) -> list[str]:
    """The words of the first command of a line, [OPTIONAL] parts included."""
    line = re.split(r"\s#|&&|\||>|;|   +then ", line)[0]
    return [PLACEHOLDERS.get(word.strip("[]"), word.strip("[]")) for word in shlex.split(line)]


ALL = [(page, line) for page in PAGES for line in _lines(page)]


@pytest.mark.parametrize(("page", "line"), ALL, ids=lambda x: name_of(x) if isinstance(x, Path) else x)
def test_a_command_line_parses(page: Path, line: str) -> None:
    words = _words(line)
    program = words[0].removeprefix("./").removeprefix(".venv/bin/")
    if program == "synalign":
        if len(words) == 2 and words[1] in NAMES:
            return  # the name of a command, not a call of it
        arguments = [word for word in words[1:] if word != "--debug"]
        assert arguments == ["--version"] or parser().parse_args(arguments).command in NAMES
    elif program == "python":
        if words[1] == "-m":
            return
        _has_options(words[1:])
    else:
        _has_options([program, *words[1:]])


def _has_options(words: list[str]) -> None:
    script = ROOT / words[0]
    assert script.is_file()
    text = script.read_text(encoding="utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            assert word in text, f"{words[0]} has no {word}"


def test_command_lines_are_found() -> None:
    found = {line.split()[1] for _, line in ALL if line.startswith("synalign ")}
    assert found >= NAMES


SNIPPETS = [(page, body) for page in PAGES for body in _blocks(page, "toml")]
NEEDED = {
    "run": {"folder": "runs/x"},
    "data": {"source": "rotten_tomatoes"},
    "llm": {"model": "m", "base_url": "http://127.0.0.1:1/v1"},
}


@pytest.mark.parametrize(("page", "body"), SNIPPETS, ids=lambda x: name_of(x) if isinstance(x, Path) else "")
def test_settings_shown_are_settings(page: Path, body: str) -> None:
    shown = tomllib.loads(body)
    parse_config({key: NEEDED.get(key, {}) | shown.get(key, {}) for key in NEEDED | shown}, base=ROOT)
