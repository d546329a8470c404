"""The table from the paper to the code points at what is there."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "paper.md"
ENTRY = re.compile(r"\[`(?P<shown>[^`]+)`\]\((?P<target>[^)]+)\)(?: `(?P<name>[\w.]+)`)?")
ENTRIES = [match.groupdict() for match in ENTRY.finditer(PAGE.read_text(encoding="utf-8"))]


def _defined(path: Path) -> set[str]:
    """Functions, classes and methods of a file, methods after their class's name."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
            names |= {
                f"{node.name}.{inner.name}" for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef)
            }
    return names


def test_the_table_covers_the_three_modules() -> None:
    shown = {entry["shown"] for entry in ENTRIES}
    for room in ("core/explore/", "pipeline/asking/", "core/align/", "core/mmd/"):
        assert any(name.startswith(room) for name in shown)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['shown']}-{entry['name']}")
def test_an_entry_names_a_file_and_what_it_defines(entry: dict[str, str | None]) -> None:
    path = (PAGE.parent / entry["target"]).resolve()
    assert path.is_file()
    assert str(path).endswith(entry["shown"])
    if entry["name"]:
        assert entry["name"] in _defined(path)
