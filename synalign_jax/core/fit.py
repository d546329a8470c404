"""One label's weights at a given penalty: exact, or by landmarks where the kernel matrix would not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from .checks import InputError
from .kernels import Kernel, gram
from .landmarks import hessian_at, maximise, newton_direction, ridged, whitener
from .problem import Problem, centred, mean_columns
from .progress import Tell, silent
from .quadratic import minimise
from .sharding import put_rows, replicated
from .simplex import threshold
from .witness import Witness

_HIGHEST = jax.lax.Precision.HIGHEST
BLOCK = 8_192  # rows of the pool that are read and evaluated together
_SAMPLE = 4_096  # rows from which the part of MMD^2 that landmarks miss is estimated

_REFINEMENTS = 4  # Newton steps over the whole pool, two passes each

LANDMARKS = 4_096
HELD_VALUES = 2**29  # kernel values between pool and landmarks that are held: 2 GiB in float32


class Fit(NamedTuple):
    """Weights within a label, which sum to 1, and what is known of them.

    w_j = clip((g(e_j) - offset) / (strength m), 0, cap), with the witness g, for these rows and later ones.
    """

    weights: np.ndarray
    before: float
    after: float
    gap: float
    converged: bool
    witness: Witness
    strength: float
    offset: float


def fit_exact(problem: Problem, gamma: float, *, tolerance: float, max_steps: int) -> Fit:
    """Solve with the kernel matrix of the pool held whole."""
    pool, m = problem.take(np.arange(problem.size)), problem.size
    attraction = mean_columns(problem.kernel, pool, problem.real)
    K = centred(gram(problem.kernel, pool, pool), attraction, problem.within_real)
    solution = minimise(
        K,
        jnp.zeros((m, 1), K.dtype),
        jnp.full(1, gamma * m, K.dtype),
        cap=problem.cap,
        floor=np.full(1, gamma),
        relative=tolerance,
        absolute=2.0 * float(jnp.finfo(K.dtype).eps),
        max_steps=max_steps,
    )
    a = solution.a[:, 0]
    h = -np.asarray(jnp.matmul(K, a, precision=_HIGHEST), np.float64)
    constant = float(problem.within_real - attraction @ a)
    keep = np.flatnonzero(np.asarray(a) > 0)
    return Fit(
        weights=np.asarray(a),
        before=float(jnp.mean(K)),
        after=float(solution.certificate.value[0]),
        gap=max(0.0, float(solution.certificate.gap[0])),
        converged=bool(solution.converged[0]),
        witness=signed_witness(problem, pool[keep], a[keep]),
        strength=gamma,
        offset=_nu(h, gamma * m, problem.cap) + constant if gamma > 0 else float("nan"),
    )


def fit_landmarks(
    problem: Problem,
    gamma: float,
    *,
    tolerance: float,
    max_steps: int,
    key: PRNGKeyArray,
    mesh: Mesh | None = None,
    tell: Tell = silent,
) -> Fit:
    """Maximise the dual in the span of random landmarks, and take the weights that its witness gives.

    As many rows as fit join the solve; then every row gets its weight from the witness, in blocks. With a
    mesh the rows of the solve are split over its devices, and only sums over them cross.
    """
    if gamma <= 0:
        raise InputError(
            f"regularization: 0 for {problem.size} rows needs method='exact' (memory grows with the square of"
            " the rows) or 'projections'; any penalty above 0 scales"
        )
    s = min(LANDMARKS, problem.size)
    devices = 1 if mesh is None else mesh.devices.size
    solved = min(problem.size, max(s, HELD_VALUES // s)) // devices * devices
    row_key, sample_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(row_key, problem.size))
    basis = _basis(problem, order[:s])
    factor = jnp.linalg.cholesky(basis.within)
    # Each row has a part that the landmarks cannot represent; weights pay for it as for a penalty.
    unseen = problem.take(np.sort(order[-min(_SAMPLE, problem.size) :]))
    missed = float(jnp.mean(jnp.diagonal(_missed(basis, factor, unseen))))
    strength = gamma + missed / problem.size
    cross = _place(problem, basis, np.sort(order[:solved]), mesh)
    local = jnp.asarray if mesh is None else lambda x: jax.device_put(np.asarray(x), replicated(mesh))
    white = whitener(cross, local(factor))
    settings = (
        white,
        local(jnp.asarray(strength * solved, cross.dtype)),
        local(jnp.asarray(min(1.0, problem.cap * problem.size / solved), cross.dtype)),
    )
    dual, done = maximise(
        cross,
        local(basis.within),
        *settings,
        strength,
        relative=0.1 * tolerance,
        max_steps=max_steps,
    )
    held = cross if solved == problem.size and mesh is None else None
    whole = _Whole(problem, basis, strength, held, tell)
    point = whole.evaluate(np.asarray(dual.v))
    if solved < problem.size:
        # The rows left out move the optimum a little: Newton steps on the bound of the whole pool.
        hessian = hessian_at(dual.omega, *settings)
        point, done = whole.refine(point, factor, jnp.asarray(np.asarray(hessian)), tolerance)
    v, weights = point.v, point.weights
    uniform = np.full(problem.size, 1.0 / problem.size)
    after, before = (
        _mmd2(problem, basis, factor, moment, w, sample_key)
        for moment, w in ((point.moment, weights), (whole.uniform_moment, uniform))
    )
    penalty = problem.size * float(np.sum(weights**2)) - 1.0
    bound = _bound(point.h, gamma, problem.cap) - whole.norm(v)
    constant = float(v @ np.asarray(basis.attraction, np.float64) - problem.within_real * v.sum())
    return Fit(
        weights=weights,
        before=before,
        after=after,
        gap=max(0.0, after + gamma * penalty - bound),
        converged=done,
        witness=signed_witness(problem, basis.landmarks, jnp.asarray(v, cross.dtype), float(v.sum())),
        strength=strength,
        offset=point.nu - constant,
    )


class _Basis(NamedTuple):
    """Landmarks, their mean kernel with the real rows, and their centred Gram matrix."""

    kernel: Kernel
    real: Float[Array, "n d"]
    landmarks: Float[Array, "s d"]
    attraction: Float[Array, " s"]
    within_real: Float[Array, ""]
    within: Float[Array, "s s"]


def _basis(problem: Problem, positions: np.ndarray) -> _Basis:
    landmarks = problem.take(np.sort(positions))
    attraction = mean_columns(problem.kernel, landmarks, problem.real)
    within = ridged(centred(gram(problem.kernel, landmarks, landmarks), attraction, problem.within_real))
    level = jnp.asarray(problem.within_real, landmarks.dtype)
    return _Basis(problem.kernel, problem.real, landmarks, attraction, level, within)


@jax.jit
def _cross(basis: _Basis, rows: Float[Array, "m d"]) -> Float[Array, "m s"]:
    """<phi~(row), phi~(landmark)>."""
    towards = mean_columns(basis.kernel, rows, basis.real)
    values = gram(basis.kernel, rows, basis.landmarks)
    return values - towards[:, None] - basis.attraction[None, :] + basis.within_real


@jax.jit
def _cross_blocks(basis: _Basis, rows: Float[Array, "b r d"]) -> Float[Array, "b r s"]:
    return jax.lax.map(lambda block: _cross(basis, block), rows)


def _place(problem: Problem, basis: _Basis, positions: np.ndarray, mesh: Mesh | None) -> Float[Array, "m s"]:
    """The cross matrix of the rows that are solved together, split by rows over the mesh."""
    if mesh is not None:
        rows = put_rows(_View(problem, positions), mesh)
        shared = jax.device_put(jax.tree.map(np.asarray, basis), replicated(mesh))
        return _cross(shared, rows)
    whole = len(positions) // BLOCK * BLOCK
    rest = _cross(basis, problem.take(positions[whole:]))
    if not whole:
        return rest
    blocks = _cross_blocks(basis, problem.take(positions[:whole]).reshape(-1, BLOCK, problem.real.shape[1]))
    blocks = blocks.reshape(whole, -1)
    return jnp.concatenate([blocks, rest]) if len(rest) else blocks


class _Point(NamedTuple):
    """The dual problem of the whole pool at v; `moment` is sum_j w_j <phi~(e_j), phi~(landmark)>."""

    v: np.ndarray
    h: np.ndarray
    nu: float
    weights: np.ndarray
    moment: np.ndarray
    bound: float


class _Whole:
    """The dual problem over every row of the pool, in float64 sums over blocks; two passes a point."""

    def __init__(
        self, problem: Problem, basis: _Basis, strength: float, held: Array | None, tell: Tell
    ) -> None:
        self._problem, self._basis, self._strength, self._held = problem, basis, strength, held
        self._tell, self._passes = tell, 0
        self._within = np.asarray(basis.within, np.float64)
        self.uniform_moment = np.zeros(len(self._within))

    def norm(self, v: np.ndarray) -> float:
        return float(v @ self._within @ v)

    def evaluate(self, v: np.ndarray) -> _Point:
        v = v.astype(np.float64)
        m, problem = self._problem.size, self._problem
        coefficients = jnp.asarray(-v, self._basis.within.dtype)
        h = np.empty(m)
        uniform = np.zeros_like(v)
        for rows, block in self._blocks():
            h[rows] = jnp.matmul(block, coefficients, precision=_HIGHEST)
            uniform += np.asarray(jnp.sum(block, axis=0), np.float64) / m
        self.uniform_moment = uniform
        rho = self._strength * m
        nu = _nu(h, rho, problem.cap)
        weights = np.clip((h - nu) / rho, 0.0, problem.cap)
        moment = np.zeros_like(v)
        for rows, block in self._blocks():
            moment += np.asarray(jnp.matmul(weights[rows].astype(block.dtype), block, precision=_HIGHEST))
        bound = float(rho * (weights @ weights) - 2.0 * (h @ weights)) - self.norm(v)
        return _Point(v, h, nu, weights, moment, bound)

    def _blocks(self) -> Iterator[tuple[slice, Array]]:
        """The cross matrix of the whole pool, block by block; `held` saves computing it again."""
        size = self._problem.size
        self._passes += 1
        for start in range(0, size, BLOCK):
            self._tell(f"pass {self._passes} over the pool", start, size)
            rows = slice(start, min(start + BLOCK, size))
            if self._held is not None:
                yield rows, self._held[rows]
            else:
                yield rows, _cross(self._basis, self._problem.take(np.arange(rows.start, rows.stop)))

    def refine(
        self,
        point: _Point,
        factor: Float[Array, "s s"],
        hessian: Float[Array, "s s"],
        tolerance: float,
    ) -> tuple[_Point, bool]:
        for _ in range(_REFINEMENTS):
            slope = 2.0 * (point.moment - self._within @ point.v)
            direction = np.asarray(newton_direction(factor, hessian, jnp.asarray(slope, factor.dtype)))
            if direction @ slope <= 0.5 * tolerance * (point.bound - self._strength):
                return point, True
            trial = self.evaluate(point.v + direction)
            if trial.bound <= point.bound:
                return point, False
            point = trial
        return point, False


@jax.jit
def _missed(basis: _Basis, factor: Float[Array, "s s"], rows: Float[Array, "t d"]) -> Float[Array, "t t"]:
    """Inner products of what the span of the landmarks leaves of each row."""
    towards = mean_columns(basis.kernel, rows, basis.real)
    values = centred(gram(basis.kernel, rows, rows), towards, basis.within_real)
    seen = jax.scipy.linalg.solve_triangular(factor, _cross(basis, rows).T, lower=True)
    return values - jnp.matmul(seen.T, seen, precision=_HIGHEST)


def _mmd2(
    problem: Problem,
    basis: _Basis,
    factor: Array,
    moment: np.ndarray,
    weights: np.ndarray,
    key: PRNGKeyArray,
) -> float:
    """MMD^2 under the weights: exact within the landmarks' span, the small rest estimated from a sample."""
    seen = jax.scipy.linalg.solve_triangular(factor, jnp.asarray(moment, factor.dtype), lower=True)
    offset = float(jax.random.uniform(key))
    count = min(_SAMPLE, np.count_nonzero(weights))
    points = (np.arange(count) + offset) / count * weights.sum()
    positions = np.minimum(np.searchsorted(np.cumsum(weights), points, side="right"), len(weights) - 1)
    positions = np.unique(positions)
    rest = np.asarray(_missed(basis, factor, problem.take(positions)), np.float64)
    own, t = np.diagonal(rest), len(positions)
    apart = (rest.sum() - own.sum()) / max(t * (t - 1), 1) * (1.0 - float(np.sum(weights**2)))
    return float(jnp.sum(seen * seen)) + float(np.mean(weights[positions] * own)) + float(apart)


def _nu(h: np.ndarray, rho: float, cap: float) -> float:
    """nu with sum_j clip((h_j - nu) / rho, 0, cap) = 1."""
    # Shifted, so that float32 resolves the differences of the witness and not its level.
    level = float(h.mean())
    x = jnp.asarray((h - level) / rho)
    return float(threshold(x, jnp.ones((), x.dtype), jnp.asarray(cap, x.dtype))) * rho + level


def _bound(h: np.ndarray, gamma: float, cap: float) -> float:
    """min over the capped simplex of gamma (m |w|^2 - 1) - 2 h' w, from below."""
    rho = gamma * len(h)
    nu = _nu(h, rho, cap)
    w = np.clip((h - nu) / rho, 0.0, cap)
    # With the multiplier of sum w = 1 written out, rounding in nu cannot make the bound false.
    return float(rho * (w @ w) - 2.0 * (h - nu) @ w - 2.0 * nu) - gamma


def signed_witness(problem: Problem, rows: Array, weights: Array, total: float = 1.0) -> Witness:
    """`total` times the mean over the real rows less the weighted rows."""
    n = len(problem.real)
    pull = jnp.full(n, total / n, rows.dtype)
    return Witness(problem.kernel, jnp.concatenate([problem.real, rows]), jnp.concatenate([pull, -weights]))


class _View:
    """Chosen rows of the pool, read when they are sliced."""

    def __init__(self, problem: Problem, positions: np.ndarray) -> None:
        self._problem, self._positions = problem, positions
        self.shape = (len(positions), problem.real.shape[1])

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = index[0] if isinstance(index, tuple) else index
        return np.asarray(self._problem.take(self._positions[rows]))
