"""The memory estimate against what a solve in a process of its own really takes."""

import subprocess
import sys

import pytest

from synalign_jax.core.align.memory import alignment_memory
from synalign_jax.core.checks import InputError

_SOLVE = r"""
import re, sys
import jax, numpy as np
from synalign_jax.core.align.align import align
from synalign_jax.core.kernels import rbf
rows = int(sys.argv[1])
rng = np.random.default_rng(0)
real, pool = rng.normal(size=(300, 8)).astype("f4"), rng.normal(size=(rows, 8)).astype("f4")
align(real, pool, key=jax.random.key(0), kernel=rbf(4.0), regularization=1e-4, method="exact")
# Not ru_maxrss: a child of a large process begins with its parent's.
print(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
"""


def _peak(rows: int) -> int:
    done = subprocess.run([sys.executable, "-c", _SOLVE, str(rows)], check=True, capture_output=True)
    return 1024 * int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_estimate_is_near_what_is_taken() -> None:
    # A weak penalty, which takes Newton steps; less what the libraries take.
    taken = _peak(5_000) - _peak(50)
    planned = alignment_memory(300, 5_000, 8, method="exact").peak_bytes
    assert 0.4 * planned < taken < 1.3 * planned


def test_plan_names_method_and_blocks() -> None:
    assert alignment_memory(200, 4_000, 384).method == "exact"
    large = alignment_memory(2_000, 1_000_000, 384)
    assert large.method == "landmarks"
    assert large.rows_solved_together == 131_072
    assert large.peak_bytes < 8 * 2**30
    assert "8,192 at a time" in str(large)
    doubled = alignment_memory(2_000, 1_000_000, 384, itemsize=8)
    assert doubled.peak_bytes > 1.9 * large.peak_bytes


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="all are at least 1"):
        alignment_memory(0, 10, 3)
    with pytest.raises(InputError, match="method: 'some'"):
        alignment_memory(10, 10, 3, method="some")
