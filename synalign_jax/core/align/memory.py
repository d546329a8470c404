"""How much memory an alignment takes, known before it starts."""

from __future__ import annotations

from typing import NamedTuple

from synalign_jax.core.checks import InputError

from .align import EXACT_LIMIT
from .landmarks.solver import HELD_VALUES, LANDMARKS
from .problem import BLOCK


class MemoryPlan(NamedTuple):
    """`peak_bytes` beside the pool itself, which stays on disk when it is memory-mapped."""

    method: str
    block_size: int  # rows of the pool that are read together
    rows_solved_together: int
    peak_bytes: int

    def __str__(self) -> str:
        return (
            f"method {self.method}: about {self.peak_bytes / 2**30:.2f} GiB beside the pool,"
            f" {self.rows_solved_together:,} rows solved together, read {self.block_size:,} at a time"
        )


def alignment_memory(
    real_rows: int, pool_rows: int, width: int, *, method: str = "auto", itemsize: int = 4
) -> MemoryPlan:
    """What `align` will hold, for the largest label's rows.

    Args:
        real_rows: rows of the real set.
        pool_rows: rows of the pool.
        width: columns of the embeddings.
        method: as in `align`.
        itemsize: bytes of one number; 8 for float64.

    Raises:
        InputError: counts below 1, or an unknown method.
    """
    if min(real_rows, pool_rows, width) < 1:
        raise InputError(f"rows and width: {real_rows}, {pool_rows}, {width}; all are at least 1")
    if method not in ("auto", "exact", "landmarks"):
        raise InputError(f"method: {method!r}; choose 'auto', 'exact' or 'landmarks'")
    if method == "auto":
        method = "exact" if pool_rows <= EXACT_LIMIT else "landmarks"
    inputs = (real_rows + min(pool_rows, EXACT_LIMIT)) * width
    if method == "exact":
        # The kernel matrix, and at most as much again for the system of the support and for its factor.
        values = 3 * pool_rows**2 + pool_rows * real_rows
        return MemoryPlan(method, pool_rows, pool_rows, itemsize * (values + inputs))
    landmarks = min(LANDMARKS, pool_rows)
    solved = min(pool_rows, max(landmarks, HELD_VALUES // landmarks))
    block = min(BLOCK, pool_rows)
    # Held kernel values, their rows, what is missed, whitened rows, Hessian and factors of the landmarks, and
    # the blocks in flight.
    held = solved * (landmarks + width) + 12 * landmarks**2 + 3 * block * (landmarks + real_rows)
    # h and the weights of every row, in float64, twice.
    return MemoryPlan(method, block, solved, itemsize * (held + inputs) + 32 * pool_rows)
