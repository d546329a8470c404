"""The tutorials run from beginning to end on what the demo installs, and show what their code made."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

PATH = Path(__file__).parents[2] / "docs" / "tutorials" / "execute.py"
spec = importlib.util.spec_from_file_location("execute", PATH)
assert spec is not None
assert spec.loader is not None
tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tutorials)


def _shown(notebook: nbformat.NotebookNode) -> list[set[str]]:
    """What each cell shows: kinds of pictures and values, and the names of streams."""
    return [
        {kind for output in cell.get("outputs", []) for kind in output.get("data", {"stream": ""})}
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", tutorials.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_what_is_stored(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    ran = tutorials.execute(path, tmp_path)
    assert _shown(ran) == _shown(stored)
    assert not any(
        "stderr" in output.get("name", "") for cell in ran.cells for output in cell.get("outputs", [])
    )


@pytest.mark.parametrize("path", tutorials.NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_is_of_this_code_and_small(path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert stored.metadata["code_hash"] == tutorials.code_hash(stored), "run: scripts/docs --notebooks"
    assert path.stat().st_size < 200_000
    assert any("image/svg+xml" in kinds for kinds in _shown(stored))
