"""One label's weights where the kernel matrix of the pool would not fit in memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from synalign_jax.core.align.fit import Fit, signed_witness
from synalign_jax.core.align.problem import Problem
from synalign_jax.core.align.quadratic import largest_eigenvalue
from synalign_jax.core.align.simplex import least
from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint
from synalign_jax.core.checks import InputError
from synalign_jax.core.progress import Tell, silent
from synalign_jax.core.sharding import copied

from .basis import squared_norm
from .solver import LandmarkSolver, Solution
from .witness import ClosedForm, Witness, evaluate, evaluate_block

CORRECTED_VALUES = 2**32  # kernel values of an exact pass over the pool: about 15 s on two cores


def fit_landmarks(
    problem: Problem,
    gamma: float,
    *,
    tolerance: float,
    max_steps: int,
    key: PRNGKeyArray,
    mesh: Mesh | None = None,
    tell: Tell = silent,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Fit:
    """Maximise the dual in the span of random landmarks, and take the weights that its witness gives.

    As many rows as fit join the solve; then every row gets its weight from the witness, in blocks. Where the
    pool allows one pass of exact kernel sums, a second solve replaces by them what the landmarks miss. With a
    mesh the rows of the solve are split over its devices, and only sums over them cross.
    """
    if gamma <= 0:
        raise InputError(
            f"regularization: 0 for {problem.size} rows needs method='exact' (memory grows with the square of"
            " the rows) or 'projections'; any penalty above 0 scales"
        )
    solve_key, sample_key = jax.random.split(key)
    solver = LandmarkSolver(problem, solve_key, mesh, tolerance, max_steps, tell, checkpoint)
    m = problem.size
    # Each row has a part that the landmarks cannot represent; weights pay for it as for a penalty.
    strength = gamma + float(jnp.mean(jnp.diagonal(solver.missed))) / m
    found = solver.solve("solve", strength, np.zeros(m))
    basis, point = solver.basis, found.point
    before = squared_norm(problem, basis, point.mean, np.full(m, 1.0 / m), sample_key)
    bound = least(point.h, gamma * m, problem.cap) - gamma - found.norm
    form = ClosedForm(
        _within_span(solver, point.v), strength, point.nu - basis.level(point.v), problem.cap * m
    )
    if m * np.count_nonzero(point.weights) <= CORRECTED_VALUES:
        return _correct(solver, gamma, found, form, before, bound, sample_key, tell)
    after = squared_norm(problem, basis, point.moment, point.weights, sample_key)
    gap = max(0.0, _penalised(after, gamma, point.weights) - bound)
    return Fit(point.weights, before, after, gap, found.done, form)


def _correct(
    solver: LandmarkSolver,
    gamma: float,
    found: Solution,
    form: ClosedForm,
    before: float,
    bound: float,
    key: PRNGKeyArray,
    tell: Tell,
) -> Fit:
    """A step down the true objective: exact kernel sums at the weights found replace what landmarks miss.

    With R the inner products of the missed parts and w0 the weights found, w'Rw <= 2 w'Rw0 - w0'Rw0
    + pull |w - w0|^2 where `pull` is at least R's largest eigenvalue. The right side is a linear term and a
    penalty, which landmarks can solve.
    """
    problem, basis, point = solver.problem, solver.basis, found.point
    m, w0 = problem.size, point.weights
    support = np.flatnonzero(w0)
    rows = problem.take(support)
    exact = signed_witness(problem, rows, jnp.asarray(w0[support], rows.dtype))
    if (known := solver.checkpoint.get("exact pass")) is not None:
        heights = known["heights"]
    else:
        heights = np.empty(m)
        everywhere = copied(exact, solver.mesh)
        for part, points in problem.blocks(solver.mesh):
            tell("exact pass over the pool", part.start, m)
            heights[part] = evaluate_block(everywhere, points, solver.mesh)
        solver.checkpoint.put("exact pass", heights=heights)
    towards = evaluate(Witness(problem.kernel, problem.real, _mean_of(problem.real)), rows)
    level = problem.within_real - float(w0[support] @ towards)
    sums = level - heights  # of the centred kernel with w0
    own = float(sums @ w0)
    pull = float(largest_eigenvalue(solver.missed))
    strength = gamma + pull / m
    better = solver.solve("correct", strength, sums + point.h - pull * w0, found)
    change = better.point.v - point.v
    # For the bound, the witness of w0 and the change within the span.
    norm = own + 2.0 * float(change @ point.moment) + float(change @ (solver.within @ change))
    bound = max(bound, least(better.point.h - pull * w0, gamma * m, problem.cap) - gamma - norm)
    step = better.point.weights - w0
    after = own + 2.0 * float(sums @ step)
    after += squared_norm(problem, basis, better.point.moment - point.moment, step, key)
    done = found.done and better.done
    reached = _penalised(after, gamma, better.point.weights)
    # `pull` comes from a sample, so the outcome is looked at.
    if reached >= _penalised(own, gamma, w0):
        gap = max(0.0, _penalised(own, gamma, w0) - bound)
        return Fit(w0, before, own, gap, done, form)
    near = _within_span(solver, change)
    witness = Witness(
        problem.kernel,
        jnp.concatenate([near.centers, exact.centers]),
        jnp.concatenate([near.coefficients, exact.coefficients]),
    )
    offset = better.point.nu + level - basis.level(change)
    corrected = ClosedForm(witness, strength, offset, problem.cap * m, pull / m, form)
    return Fit(better.point.weights, before, after, max(0.0, reached - bound), done, corrected)


def _within_span(solver: LandmarkSolver, v: np.ndarray) -> Witness:
    landmarks = solver.basis.landmarks
    return signed_witness(solver.problem, landmarks, jnp.asarray(v, landmarks.dtype), float(v.sum()))


def _mean_of(rows: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jnp.full(len(rows), 1.0 / len(rows), rows.dtype)


def _penalised(mmd2: float, gamma: float, w: np.ndarray) -> float:
    return mmd2 + gamma * (len(w) * float(w @ w) - 1.0)
