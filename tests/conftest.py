"""Array shapes and dtypes are checked at run time in every test."""

import gc
import os
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jax
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

install_import_hook(
    ["synalign_jax.core", "synalign_jax.text", "synalign_jax.evaluation"], "beartype.beartype"
)

# One program is compiled once for all processes of a session: those that run the tests, inheriting the first
# one's environment, and the many that the tests start. The first one takes the folder away in the end.
_OWN_FOLDER = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _OWN_FOLDER = tempfile.mkdtemp(prefix="synalign-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _OWN_FOLDER
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    jax.config.update("jax_compilation_cache_dir", _OWN_FOLDER)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_unconfigure() -> None:
    if _OWN_FOLDER is not None:
        shutil.rmtree(_OWN_FOLDER, ignore_errors=True)


# Started in the background, a shell has us ignore Ctrl-C, and so would every process that the tests start to
# send it to. What is handled here, and not ignored, is reset to its default in them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is a matter of what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _what_a_test_starts_ends_with_it() -> Iterator[None]:
    """A test that fails half-way would leave processes and pipes, and another test be blamed for them."""
    started: list[weakref.ref[subprocess.Popen]] = []
    start = subprocess.Popen.__init__

    def noted(process: subprocess.Popen, *arguments, **options) -> None:
        started.append(weakref.ref(process))
        start(process, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", noted)
        yield
    for process in filter(None, (reference() for reference in started)):
        if process.returncode is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


# Files that take longest go first, so that no process waits for the other's last one.
_LONGEST = (
    "test_run.py",
    "test_tutorials.py",
    "test_code_blocks.py",
    "test_run_from_python.py",
    "test_zoo_run.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))
    items.sort(
        key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST)
    )


def pytest_collection_finish() -> None:
    # What is imported by now stays: a run collects garbage after every stage, and would go through all of it.
    gc.collect()
    gc.freeze()


# A process that has compiled for many modules holds gigabytes of programs that no later module runs.
_HELD_BYTES = 2 << 30


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux: nothing is known, and nothing is given up
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_given_up():
    yield
    if _resident_bytes() > _HELD_BYTES:
        jax.clear_caches()
        gc.collect()
