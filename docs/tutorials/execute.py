"""Executes the tutorials and keeps what they show: `scripts/docs --notebooks`.

A notebook is committed with its outputs, because the site shows them and is built without executing anything.
So that they cannot be those of other code, each records the hash of the code that made them, for the tests.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = tuple(sorted(HERE.glob("*.ipynb")))


def code_hash(notebook: nbformat.NotebookNode) -> str:
    code = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def execute(path: Path, folder: str | Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh kernel that works in `folder`; raises where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    # `synalign` in a cell is that of this interpreter.
    path_before = os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path_before])
    try:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            startup_timeout=300,  # a busy machine starts slowly
            coalesce_streams=True,
        ).execute()
    finally:
        os.environ["PATH"] = path_before
    return notebook


def _forget(output: nbformat.NotebookNode, folder: str) -> None:
    """Take the name of the folder, which is another each time, out of what was shown."""
    if "text" in output:
        output.text = output.text.replace(f"{folder}/", "")
    for kind, value in output.get("data", {}).items():
        if isinstance(value, str):
            output.data[kind] = value.replace(f"{folder}/", "")


def main(names: list[str]) -> None:
    for path in NOTEBOOKS:
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, folder)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                _forget(output, folder)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "code_hash": code_hash(notebook),
        }
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
