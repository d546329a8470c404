"""The witness function: where the real rows are denser than the weighted synthetic ones."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from synalign_jax.core.kernels import Kernel, gram
from synalign_jax.core.sharding import everywhere


class Witness(NamedTuple):
    """g(e) = sum_c coefficients_c k(e, centers_c): real rows at 1 / n, synthetic rows at minus their weight.

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, section 2.3.
    """

    kernel: Kernel
    centers: Float[Array, "c d"]
    coefficients: Float[Array, " c"]


class ClosedForm(NamedTuple):
    """Weights of a penalised optimum: m w(e) = clip((g(e) + pull m w'(e) - offset) / strength, 0, cap).

    w' are the weights of an earlier optimum that this one corrects.
    """

    witness: Witness
    strength: float
    offset: float
    cap: float  # of m w
    pull: float = 0.0
    earlier: ClosedForm | None = None

    def __call__(self, rows: Any) -> np.ndarray:
        """m times the weight of each row."""
        height = evaluate(self.witness, rows) - self.offset
        if self.earlier is not None:
            height = height + self.pull * self.earlier(rows)
        return np.clip(height / self.strength, 0.0, self.cap)


def evaluate(witness: Witness, rows: Any, *, block_size: int = 8_192) -> np.ndarray:
    """g at each row, in blocks of rows: `rows` may be memory-mapped."""
    parts = []
    for begin in range(0, rows.shape[0], block_size):
        block = np.asarray(rows[begin : begin + block_size])
        missing = min(block_size, 8 * (-(-rows.shape[0] // 8))) - block.shape[0]
        padded = jnp.asarray(np.pad(block, ((0, missing), (0, 0)), mode="edge"), witness.centers.dtype)
        parts.append(np.asarray(evaluate_block(witness, padded))[: block.shape[0]])
    return np.concatenate(parts)


@partial(jax.jit, static_argnames=("mesh",))
def evaluate_block(
    witness: Witness, rows: Float[Array, "b d"], mesh: Mesh | None = None
) -> Float[Array, " b"]:
    """g at each row of one block, which may be split over a mesh.

    The sum goes over chunks of centres, so that b x chunk kernel values are all that is held.
    """
    chunk = 2_048
    missing = -witness.centers.shape[0] % chunk
    centers = jnp.pad(witness.centers, ((0, missing), (0, 0)), mode="edge").reshape(-1, chunk, rows.shape[1])
    coefficients = jnp.pad(witness.coefficients, (0, missing)).reshape(-1, chunk)

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        values = gram(witness.kernel, rows, part[0])
        return total + jnp.matmul(values, part[1], precision=jax.lax.Precision.HIGHEST), None

    return everywhere(jax.lax.scan(add, jnp.zeros_like(rows[:, 0]), (centers, coefficients))[0], mesh)
