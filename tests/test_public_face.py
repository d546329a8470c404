"""The names that users rely on, and the program as a newcomer meets it."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synalign_jax as sa
from synalign_jax.commands import COMMANDS

ROOT = Path(__file__).parent.parent


def test_the_public_names_take_the_arguments_that_are_promised() -> None:
    promised = {
        "explore": "rounds neighbors key kernel acquisition project labels",
        "mmd2": "x_weights y_weights kernel block_size",
        "two_sample_test": "key permutations",
        "align": "key kernel real_labels synthetic_labels regularization method",
        "resample": "key embeddings method",
        "hull_coverage": "dims",
    }
    for name, arguments in promised.items():
        parameters = inspect.signature(getattr(sa, name)).parameters
        for argument in arguments.split():
            assert parameters[argument].kind is inspect.Parameter.KEYWORD_ONLY, f"{name}({argument})"
        if "key" in arguments.split():
            assert parameters["key"].default is inspect.Parameter.empty, "keys are never defaulted"


def test_importing_the_package_needs_neither_torch_nor_an_llm_client() -> None:
    clients = {"torch", "aiohttp", "transformers", "openai", "synalign_adapters"}
    code = f"import sys, synalign_jax; print(sorted({clients} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [module.__name__.rsplit(".", 1)[1] for module in COMMANDS])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "synalign_jax", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert f"synalign {command}" in done.stdout.partition("Example")[2]
    assert f"synalign {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_only_files_that_exist() -> None:
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
