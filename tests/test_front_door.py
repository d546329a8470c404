"""What a newcomer meets first: the package's names, and the program's help, versions and completion."""

import ast
import importlib
import inspect
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import synalign_jax as sa
from synalign_jax.cli import main
from synalign_jax.commands import COMMANDS

HEAVY = {
    "jax", "numpy", "scipy", "pyarrow", "msgspec", "rich", "jinja2", "aiohttp", "transformers", "torch",
    "argcomplete",
}  # fmt: skip
NAMES = [module.__name__.rsplit(".", 1)[1] for module in COMMANDS]


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_and_the_bare_package_load_nothing_heavy() -> None:
    code = f"""
import contextlib, io, sys
import synalign_jax
from synalign_jax.cli import main
for words in {[[], *([name] for name in NAMES)]}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*words, "--help"])
    print(*words, sorted({HEAVY} & set(sys.modules)))
"""
    lines = _python(code).splitlines()
    assert lines == ["[]", *(f"{name} []" for name in NAMES)]


def test_every_public_name_is_there_under_its_own_name() -> None:
    assert set(sa.__all__) <= set(dir(sa))
    for name in sa.__all__:
        value = getattr(sa, name)
        assert value.__name__ == name
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="no_such_name"):
        sa.no_such_name  # noqa: B018


def test_no_module_hides_a_public_name() -> None:
    """Importing `synalign_jax.NAME` would put the module in the place of the function of that name."""
    folder = Path(sa.__path__[0])
    modules = {path.stem for path in folder.iterdir()}
    assert not modules & set(sa.__all__)


def test_functions_stay_functions_whatever_was_imported_first() -> None:
    stub = ast.parse(Path(sa.__path__[0], "__init__.pyi").read_text(encoding="utf-8"))
    homes = {f"synalign_jax.{node.module}" for node in stub.body if isinstance(node, ast.ImportFrom)}
    for home in sorted(homes):
        importlib.import_module(home)
    for name in sa.__all__:
        assert not inspect.ismodule(getattr(sa, name)), name


def test_the_version_is_that_of_what_is_installed() -> None:
    from importlib.metadata import version

    assert sa.__version__ == version("synalign-jax")
    shown = _python("from synalign_jax.cli import main; main(['--version'])")
    assert shown.startswith(f"synalign-jax {version('synalign-jax')}, jax {version('jax')}, Python ")


@pytest.mark.skipif(shutil.which("bash") is None, reason="asks bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("synalign al", {"align"}),
        ("synalign align --spec", {"--spectral-power"}),
        ("synalign run ", {"my.toml"}),
    ],
)
def test_bash_completes_what_was_typed(typed: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "my.toml").touch()
    program = tmp_path / "bin" / "synalign"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom synalign_jax.cli import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    words = typed.split(" ")
    code = f"""
eval "$(synalign completion bash)"
COMP_LINE={typed!r} COMP_POINT={len(typed)} COMP_TYPE=9 COMP_CWORD={len(words) - 1}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
_python_argcomplete synalign
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert offered <= {line.strip() for line in done.stdout.splitlines()}, done.stderr


def test_without_a_command_the_commands_are_shown(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert all(f"  {name}" in shown for name in NAMES)


def test_the_command_to_go_on_with_after_ctrl_c_can_be_pasted(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("synalign_jax.commands.embed.run", stopped)
    words = ["embed", "my rows/*.csv", "--text", r"{question}\n{answer}", "--out", "v.npy"]
    assert main(words) == 130
    pasted = capsys.readouterr().err.strip().partition(": synalign ")[2]
    assert shlex.split(pasted) == words


def test_a_ctrl_c_that_falls_into_a_finalizer_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def work(_: object) -> int:
        Finalized()
        threading.Event().wait(60)
        return 0

    monkeypatch.setattr("synalign_jax.commands.embed.run", work)
    assert main(["embed", "rows.jsonl", "--out", "rows.npy"]) == 130
