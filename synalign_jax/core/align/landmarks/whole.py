"""The dual problem over every row of a pool that need not fit in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from synalign_jax.core.align.problem import BLOCK, Problem
from synalign_jax.core.align.simplex import level
from synalign_jax.core.checkpoint import Checkpoint
from synalign_jax.core.progress import Tell
from synalign_jax.core.sharding import copied, everywhere, put_rows

from .basis import Basis, cross

_HIGHEST = jax.lax.Precision.HIGHEST
_REFINEMENTS = 4  # Newton steps over the whole pool, two passes each


class Point(NamedTuple):
    """The dual problem of the whole pool at v.

    `h` is the witness less the linear term, `moment` sum_j w_j <phi~(e_j), phi~(landmark)>, and `mean` the
    same under equal weights.
    """

    v: np.ndarray
    h: np.ndarray
    nu: float
    weights: np.ndarray
    moment: np.ndarray
    mean: np.ndarray
    bound: float


@dataclass(frozen=True)
class Whole:
    """MMD^2 + strength (m |w|^2 - 1) + 2 linear' w, in float64 sums over blocks; two passes a point.

    `basis` lies on every device of `mesh`, over which the passes are split. `within` is the basis's in
    float64; `held` is the cross matrix of the whole pool, where it was kept.
    """

    problem: Problem
    basis: Basis
    mesh: Mesh | None
    within: np.ndarray
    strength: float
    linear: np.ndarray
    held: Float[Array, "m s"] | None
    tell: Tell
    title: str
    checkpoint: Checkpoint

    def norm(self, v: np.ndarray) -> float:
        """|h|^2."""
        return float(v @ (self.within @ v))

    def evaluate(self, v: np.ndarray) -> Point:
        v = v.astype(np.float64)
        name = f"point {hashlib.blake2b(v.tobytes(), digest_size=8).hexdigest()}"
        if (known := self.checkpoint.get(name)) is not None:
            nu, bound = float(known["nu"]), float(known["bound"])
            return Point(known["v"], known["h"], nu, known["weights"], known["moment"], known["mean"], bound)
        point = self._passes(v)
        self.checkpoint.put(name, **{key: np.asarray(value) for key, value in point._asdict().items()})
        return point

    def _passes(self, v: np.ndarray) -> Point:
        m = self.problem.size
        coefficients = copied(jnp.asarray(-v, self.basis.within.dtype), self.mesh)
        h, mean, moment = np.empty(m), np.zeros_like(v), np.zeros_like(v)
        for rows, block in self._blocks("1 of 2"):
            heights, total = _heights_and_total(block, coefficients, self.mesh)
            h[rows] = heights
            mean += np.asarray(total, np.float64) / m
        h -= self.linear
        rho = self.strength * m
        nu = level(h, rho, self.problem.cap)
        weights = np.clip((h - nu) / rho, 0.0, self.problem.cap)
        for rows, block in self._blocks("2 of 2"):
            part = weights[rows].astype(block.dtype)
            split = self.mesh is not None and not block.is_fully_replicated
            moment += np.asarray(_moment(put_rows(part, self.mesh) if split else part, block, self.mesh))
        bound = float(rho * (weights @ weights) - 2.0 * (h @ weights)) - self.norm(v)
        return Point(v, h, nu, weights, moment, mean, bound)

    def _blocks(self, number: str) -> Iterator[tuple[slice, Array]]:
        """The cross matrix of the whole pool, block by block."""
        size = self.problem.size
        pass_ = f"{self.title}, pass {number} over the pool"
        if self.held is not None:
            for start in range(0, size, BLOCK):
                self.tell(pass_, start, size)
                yield (rows := slice(start, min(start + BLOCK, size))), self.held[rows]
            return
        for rows, points in self.problem.blocks(self.mesh):
            self.tell(pass_, rows.start, size)
            yield rows, cross(self.basis, points)

    def refine(
        self, point: Point, step: Callable[[np.ndarray], np.ndarray], enough: float
    ) -> tuple[Point, bool]:
        """Newton steps, `step` of the slope at a point, until the bound can gain `enough` at most."""
        for _ in range(_REFINEMENTS):
            slope = 2.0 * (point.moment - self.within @ point.v)
            direction = step(slope)
            if direction @ slope <= 2.0 * enough:
                return point, True
            trial = self.evaluate(point.v + direction)
            if trial.bound <= point.bound:
                return point, False
            point = trial
        return point, False


@partial(jax.jit, static_argnames=("mesh",))
def _heights_and_total(
    block: Float[Array, "b s"], coefficients: Float[Array, " s"], mesh: Mesh | None
) -> tuple[Float[Array, " b"], Float[Array, " s"]]:
    heights = jnp.matmul(block, coefficients, precision=_HIGHEST)
    return everywhere((heights, jnp.sum(block, axis=0)), mesh)


@partial(jax.jit, static_argnames=("mesh",))
def _moment(weights: Float[Array, " b"], block: Float[Array, "b s"], mesh: Mesh | None) -> Float[Array, " s"]:
    return everywhere(jnp.matmul(weights, block, precision=_HIGHEST), mesh)
