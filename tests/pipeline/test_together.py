"""Files that belong together are all new or all old, whatever happens between the renames."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import child

from synalign_jax.pipeline.together import BusyError, Together, alone, recover

NAMES = ("weights.npy", "data/rows.jsonl", "report.html")
# Dies by SIGKILL at the nth step that changes a name, so that every state in between is met.
_KILLED = """
import os, pathlib, signal, sys
from synalign_jax.pipeline import together
out, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
steps = 0
def dying(function):
    def step(*arguments, **more):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **more)
    return step
with together.Together() as files:
    for name in sys.argv[3:]:
        files.path(out / name).write_text("new")
    files.remove(out / "rows.csv")
    for name in ("replace", "unlink"):
        setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
    os.link = dying(os.link)
print(steps)
"""


def _before(out: Path) -> None:
    (out / "data").mkdir(parents=True)
    (out / "weights.npy").write_text("old")
    (out / "data/rows.jsonl").write_text("old")
    (out / "rows.csv").write_text("old")


def _state(out: Path) -> tuple:
    return tuple((out / name).read_text() if (out / name).exists() else None for name in (*NAMES, "rows.csv"))


def _write(out: Path, error: Exception | None = None) -> None:
    with Together() as files:
        for name in NAMES:
            files.path(out / name).write_text("new")
        files.remove(out / "rows.csv")
        if error is not None:
            raise error


OLD, NEW = ("old", "old", None, "old"), ("new", "new", "new", None)


def test_killed_at_any_step_the_next_start_has_all_or_nothing(tmp_path: Path) -> None:
    seen = set()
    for step in range(1, 40):
        out = tmp_path / str(step)
        _before(out)
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(out), str(step), *NAMES], capture_output=True, text=True
        )
        # What the next command does first that writes there.
        recover(out)
        found = _state(out)
        assert found in (OLD, NEW), (step, found)
        seen.add(found)
        hidden = {path.name for path in out.rglob(".*")} - {f".{Path(name).name}.part" for name in NAMES}
        assert hidden <= {".synalign-files.part"}, step
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen == {OLD, NEW}


def test_a_rename_that_fails_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _before(tmp_path)
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == "report.html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="space"):
        _write(tmp_path)
    assert _state(tmp_path) == OLD
    assert not list(tmp_path.rglob(".*"))


def test_an_error_in_the_block_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _write(tmp_path / "new", ZeroDivisionError())
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_make_the_same_result(tmp_path: Path) -> None:
    """The lock dies with its process, and another result is not concerned."""
    out = tmp_path / "not/yet/out"
    code = (
        "import pathlib, sys, time\n"
        "from synalign_jax.pipeline.together import alone\n"
        "with alone(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)"
    )
    with child([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another process is writing"), alone(out):
            pass
        with alone(tmp_path / "not/yet/other"), alone(out, hold=False):
            pass
        other.kill()
    with alone(out):
        pass
    assert not list(tmp_path.iterdir())
