"""Freed memory that is kept is not faulted in again."""

import platform
import subprocess
import sys

import jax
import pytest

from synalign_jax.text import keep_freed_memory

_FAULTS = """
import resource, sys
import jax, jax.numpy as jnp
from synalign_jax.text import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
product = jax.jit(lambda x, y: jnp.sum(jnp.sin(x @ y)))
x, y = jnp.ones((5_000, 64)), jnp.ones((64, 2_000))  # 40 MB between them: above what glibc keeps by itself
for _ in range(100):  # until the heap has a place for every buffer that lives beside another
    product(x, y).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    product(x, y).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_temporaries_are_faulted_in_once() -> None:
    def faults(mode: str) -> int:
        output = subprocess.run(
            [sys.executable, "-c", _FAULTS, mode], capture_output=True, text=True, check=True
        ).stdout
        return int(output)

    pages = 5_000 * 2_000 * 4 // 4_096
    assert faults("keep") < pages
    if tuple(int(part) for part in jax.__version__.split(".")[:2]) < (0, 12):  # newer XLA keeps them itself
        assert faults("let go") > 5 * pages
