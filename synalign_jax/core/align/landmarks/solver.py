"""The dual problem of one pool in the span of landmarks, for any penalty and linear term."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from synalign_jax.core.align.problem import Problem
from synalign_jax.core.checkpoint import Checkpoint, Part
from synalign_jax.core.progress import Tell
from synalign_jax.core.sharding import copied, put_rows

from .basis import basis_of, cross_of_pool, missed_of_sample
from .landmarks import DualProblem, evaluate_dual, maximise, newton_direction, whitened
from .whole import Point, Whole

LANDMARKS = 4_096
HELD_VALUES = 2**29  # kernel values between pool and landmarks that are held: 2 GiB in float32


class Solution(NamedTuple):
    point: Point
    norm: float  # |h|^2 of its witness
    scale: float  # what the penalised MMD^2 is, for tolerances
    done: bool


class LandmarkSolver:
    """The dual problem of one pool, for any strength of the penalty and linear term."""

    def __init__(
        self,
        problem: Problem,
        key: PRNGKeyArray,
        mesh: Mesh | None,
        tolerance: float,
        max_steps: int,
        tell: Tell,
        checkpoint: Checkpoint,
    ) -> None:
        self.problem, self.checkpoint = problem, checkpoint
        self.mesh, self._tolerance, self._max_steps, self._tell = mesh, tolerance, max_steps, tell
        order = np.asarray(jax.random.permutation(key, problem.size))
        s = min(LANDMARKS, problem.size)
        devices = 1 if mesh is None else mesh.devices.size
        solved = min(problem.size, max(s, HELD_VALUES // s)) // devices * devices
        self.basis = basis_of(problem, order[:s])
        self.missed = missed_of_sample(problem, self.basis, order)
        self._positions = np.sort(order[:solved])
        self._shared = copied(self.basis, mesh)
        self._cross = cross_of_pool(problem, self._shared, self._positions, mesh)
        self.within = np.asarray(self.basis.within, np.float64)
        self._some, self._white = whitened(self._cross, self._shared.factor)

    def solve(
        self, title: str, strength: float, linear: np.ndarray, start: Solution | None = None
    ) -> Solution:
        """The least MMD^2 + strength (m |w|^2 - 1) + 2 linear' w, as far as landmarks know it."""
        problem, solved = self.problem, len(self._positions)
        dtype = self.basis.within.dtype
        part = linear[self._positions].astype(dtype)
        dual_problem = DualProblem(
            self._cross,
            self._shared.within,
            copied(jnp.asarray(strength * solved, dtype), self.mesh),
            copied(jnp.asarray(min(1.0, problem.cap * problem.size / solved), dtype), self.mesh),
            jnp.asarray(part) if self.mesh is None else put_rows(part, self.mesh),
            self._shared.factor,
            self._some,
            self._white,
        )
        kept = Part(self.checkpoint, title)
        if (known := kept.get("landmarks")) is not None:
            v = copied(jnp.asarray(known["v"], dtype), self.mesh)
            dual, done = evaluate_dual(dual_problem, v), bool(known["done"])
        elif start is None:
            dual, done = maximise(
                dual_problem, floor=strength, relative=0.1 * self._tolerance, max_steps=self._max_steps
            )
        else:
            dual, done = maximise(
                dual_problem,
                copied(jnp.asarray(start.point.v, dtype), self.mesh),
                absolute=0.1 * self._tolerance * start.scale,
                max_steps=self._max_steps,
            )
        if known is None:
            kept.put("landmarks", v=np.asarray(dual.v), done=np.asarray(done))
        whole = Whole(
            problem,
            self._shared,
            self.mesh,
            self.within,
            strength,
            linear,
            self._cross if solved == problem.size and self.mesh is None else None,
            self._tell,
            title,
            kept,
        )
        point = whole.evaluate(np.asarray(dual.v))
        scale = max(point.bound - strength, 0.0) if start is None else start.scale
        if solved < problem.size:
            # The rows left out move the optimum a little: Newton steps on the bound of the whole pool.
            point, done = whole.refine(
                point,
                lambda slope: np.asarray(
                    newton_direction(dual_problem, dual.omega, copied(jnp.asarray(slope, dtype), self.mesh))
                ),
                0.25 * self._tolerance * scale,
            )
        return Solution(point, whole.norm(point.v), scale, done)
