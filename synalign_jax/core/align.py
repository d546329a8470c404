"""Weights for synthetic rows: MMD^2 to the real rows plus a penalty towards uniform, least on the simplex."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .checks import InputError, check_rows
from .kernels import Kernel, diagonal, gram, pooled_rbf
from .quadratic import minimise
from .simplex import threshold
from .witness import Witness, evaluate

EXACT_LIMIT = 8_192  # pool rows up to which the kernel matrix is held whole
_CHOICE_LIMIT = 2_048  # pool rows that cross-validation works on
_FACTORS = 2.0 ** np.arange(-8, 7)  # candidate penalties, in units of the noise band
_FEW_ROWS = 10


@dataclass(frozen=True)
class GroupFit:
    """One label's fit (or the whole pool's, without labels). All MMD^2 are within the group."""

    label: Any
    proportion: float
    real_rows: int
    synthetic_rows: int
    mmd2_before: float
    mmd2_after: float
    heldout_mmd2: float
    noise_band: float
    regularization: float
    gap: float
    ess: float
    converged: bool
    rows: np.ndarray
    witness: Witness
    offset: float

    def score(self, rows: Any) -> np.ndarray:
        """Weights, on the scale of the pool's, by the closed form of the penalised optimum."""
        if self.regularization <= 0:
            raise InputError(
                "score: without regularisation the optimum has no closed form; use a gamma above 0"
            )
        share = self.proportion / self.synthetic_rows
        return share * np.maximum(0.0, (evaluate(self.witness, rows) - self.offset) / self.regularization)


@dataclass(frozen=True)
class Alignment:
    """What `align` found.

    Attributes:
        weights: (m,) not negative, summing to 1, in the pool's order.
        mmd2_before: MMD^2 between the real rows and the pool under equal weights within each label.
        mmd2_after: MMD^2 under `weights`. Below `noise_band` it is overfitting, not progress.
        heldout_mmd2: cross-validated, unbiased estimate of MMD^2 to the law of the real rows; it can be
            slightly negative. NaN when `regularization` was given and so nothing was held out.
        noise_band: expected MMD^2 between that law and a sample of as many rows as `real` has.
        regularization: gamma, one a group.
        gap: the optimum of the objective lies at most this far below what `weights` reach.
        ess: effective sample size, 1 / sum of squared weights.
        converged: whether `gap` met the tolerance.
        status: "converged", or what is unfinished and what to do.
        groups: the fit of each label.
    """

    weights: np.ndarray
    mmd2_before: float
    mmd2_after: float
    heldout_mmd2: float
    noise_band: float
    regularization: dict[Any, float]
    gap: float
    ess: float
    converged: bool
    status: str
    method: str
    kernel: Kernel
    groups: tuple[GroupFit, ...]

    def score(self, synthetic: Any, labels: Sequence[Any] | None = None) -> np.ndarray:
        """Weights for synthetic rows that arrive later, without solving again, on the scale of `weights`.

        Raises:
            InputError: bad rows; labels missing, or unknown to the fit; or an unregularised fit.
        """
        check_rows("synthetic", synthetic, width=self.groups[0].witness.centers.shape[1])
        if len(self.groups) == 1 and self.groups[0].label is None:
            return self.groups[0].score(synthetic)
        if labels is None or len(labels) != synthetic.shape[0]:
            raise InputError("labels: this alignment is per label; give one label for each row")
        out, of_row = np.zeros(synthetic.shape[0]), np.asarray(labels)
        unknown = set(of_row.tolist()) - {group.label for group in self.groups}
        if unknown:
            raise InputError(f"labels: {sorted(map(str, unknown))} had no real rows, so they have no weight")
        for group in self.groups:
            rows = np.flatnonzero(of_row == group.label)
            if rows.size:
                out[rows] = group.score(synthetic[rows])
        return out


def align(
    real: Any,
    synthetic: Any,
    *,
    key: PRNGKeyArray,
    kernel: Kernel | None = None,
    real_labels: Sequence[Any] | None = None,
    synthetic_labels: Sequence[Any] | None = None,
    label_proportions: Mapping[Any, Any] | None = None,
    regularization: float | str = "auto",
    max_weight: float | None = None,
    method: str = "auto",
    tolerance: float = 0.01,
    max_steps: int = 4_000,
) -> Alignment:
    """Weigh `synthetic` so that it is distributed like `real`.

    Minimises MMD^2(sum_j w_j delta(e_j), real) + gamma (m sum_j w_j^2 - 1) over the simplex; gamma = 0 is
    SynAlign's equation (section 3.3). With labels each label is solved by itself, and its weights sum to the
    label's share of the real rows.

    Args:
        real: (n, d) embeddings of real rows.
        synthetic: (m, d) embeddings of the pool.
        key: decides the folds of cross-validation and the rows of large pools that are solved exactly.
        kernel: any tinygp kernel; None is RBF with the median distance of the pooled rows.
        real_labels: n labels, strings or integers; given with `synthetic_labels` or not at all.
        synthetic_labels: m labels. Rows whose label no real row has get weight 0.
        label_proportions: label to share, instead of the real rows' shares.
        regularization: gamma, or "auto": chosen by cross-validation on the real rows.
        max_weight: the largest weight of one row.
        method: "exact" holds the kernel matrix of the pool; "extended" solves a subsample and extends it by
            the witness function; "auto" is exact up to 8,192 rows a label.
        tolerance: the gap allowed, relative to the objective.
        max_steps: gradient steps before an unfinished solve is returned as such.

    Raises:
        InputError: bad arrays, labels on one side only, a label that the pool lacks, a setting out of range.
    """
    check_rows("real", real)
    check_rows("synthetic", synthetic, min_rows=2, width=real.shape[1])
    if isinstance(regularization, str):
        if regularization != "auto":
            raise InputError(f"regularization: {regularization!r}; give 'auto' or a number from 0")
    elif not 0 <= regularization < float("inf"):
        raise InputError(f"regularization: {regularization}; it is finite and not negative")
    if method not in ("auto", "exact", "extended"):
        raise InputError(f"method: {method!r}; choose 'auto', 'exact' or 'extended'")
    if kernel is None:
        kernel = pooled_rbf(
            jnp.asarray(real), _rows(synthetic, np.arange(0, len(synthetic), 1 + len(synthetic) // 4096))
        )
    problems = _split(real, synthetic, real_labels, synthetic_labels, label_proportions, kernel, max_weight)
    choice_key, subsample_key = jax.random.split(key)
    heldout = [float("nan")] * len(problems)
    if regularization == "auto":
        gammas, heldout = _choose(problems, choice_key)
    else:
        gammas = [float(regularization)] * len(problems)
    groups = []
    weights = np.zeros(len(synthetic), np.float32)
    for problem, gamma, held, group_key in zip(
        problems, gammas, heldout, jax.random.split(subsample_key, len(problems)), strict=True
    ):
        exact = method == "exact" or (method == "auto" and problem.size <= EXACT_LIMIT)
        solve = _solve_exact if exact else _solve_extended
        group, inside = solve(problem, gamma, held, tolerance, max_steps, group_key)
        weights[problem.rows] = problem.proportion * inside
        groups.append(group)
    return _gather(weights, tuple(groups), kernel, method)


@dataclass(frozen=True)
class _Problem:
    """One label's rows. `cap` bounds the weights within the label, which sum to 1."""

    label: Any
    proportion: float
    real: Float[Array, "n d"]
    pool: Any
    rows: np.ndarray
    kernel: Kernel
    cap: float
    within_real: float  # mean of k(z_i, z_i')
    noise_band: float  # (mean k(z_i, z_i) - mean over pairs k(z_i, z_i')) / n

    @property
    def size(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> Float[Array, "rows d"]:
        return _rows(self.pool, self.rows[positions])


def _rows(pool: Any, rows: np.ndarray) -> Float[Array, "rows d"]:
    return jnp.asarray(pool[rows])


def _split(
    real: Any,
    synthetic: Any,
    real_labels: Sequence[Any] | None,
    synthetic_labels: Sequence[Any] | None,
    label_proportions: Mapping[Any, Any] | None,
    kernel: Kernel,
    max_weight: float | None,
) -> list[_Problem]:
    """One problem a label."""
    if (real_labels is None) != (synthetic_labels is None):
        raise InputError("labels: given for one side only; give real_labels and synthetic_labels, or neither")
    if real_labels is None or synthetic_labels is None:
        if label_proportions is not None:
            raise InputError("label_proportions: they need real_labels and synthetic_labels")
        everything = np.arange(len(synthetic))
        return [_problem(None, 1.0, jnp.asarray(real), synthetic, everything, kernel, max_weight)]
    for name, labels, count in (
        ("real_labels", real_labels, len(real)),
        ("synthetic_labels", synthetic_labels, len(synthetic)),
    ):
        if len(labels) != count:
            raise InputError(f"{name}: {len(labels)} labels for {count} rows")
    of_real, of_pool = np.asarray(real_labels), np.asarray(synthetic_labels)
    present = sorted(set(of_real.tolist()))
    shares = dict(label_proportions or {label: float(np.mean(of_real == label)) for label in present})
    unseen = [label for label in shares if label not in present]
    if unseen:
        raise InputError(
            f"label_proportions: {unseen} have no real rows to match; drop them or add real rows"
        )
    if not all(share >= 0 for share in shares.values()) or not sum(shares.values()) > 0:
        raise InputError("label_proportions: they are not negative and their sum is positive")
    missing = [label for label, share in shares.items() if share > 0 and not np.any(of_pool == label)]
    if missing:
        raise InputError(
            f"synthetic_labels: the pool has no row labelled {missing}; generate some, drop the label from"
            " the real rows, or set its share to 0 in label_proportions"
        )
    surplus = sorted(set(of_pool.tolist()) - set(present))
    if surplus:
        warnings.warn(f"{surplus} label synthetic rows but no real row: their weight is 0", stacklevel=3)
    total = sum(shares.values())
    return [
        _problem(
            label,
            share / total,
            jnp.asarray(real)[np.flatnonzero(of_real == label)],
            synthetic,
            np.flatnonzero(of_pool == label),
            kernel,
            max_weight,
        )
        for label, share in shares.items()
        if share > 0
    ]


def _problem(
    label: Any,
    proportion: float,
    real: Array,
    pool: Any,
    rows: np.ndarray,
    kernel: Kernel,
    max_weight: float | None,
) -> _Problem:
    n = real.shape[0]
    cap = 1.0 if max_weight is None else min(1.0, max_weight / proportion)
    if cap * len(rows) < 1.0:
        name = "" if label is None else f" labelled {label!r}"
        raise InputError(
            f"max_weight: {max_weight} for {len(rows)} rows{name} keeps their sum below {proportion:.3g};"
            f" give at least {proportion / len(rows):.3g}"
        )
    own = float(jnp.mean(diagonal(kernel, real)))
    within = float(mean_gram(kernel, real))
    pairs = (n * within - own) / (n - 1) if n > 1 else float("nan")
    return _Problem(label, proportion, real, pool, rows, kernel, cap, within, (own - pairs) / n)


def _choose(problems: Sequence[_Problem], key: PRNGKeyArray) -> tuple[list[float], list[float]]:
    """Gamma of each problem, and the held-out MMD^2 there, by cross-validation on the real rows.

    One factor of the noise band serves all labels: the band is how much a real sample of that size errs, and
    pooling the labels' curves steadies a choice that a label of few rows could not make alone.
    """
    if all(problem.real.shape[0] < 2 for problem in problems):
        raise InputError("real: one row (a label) cannot be cross-validated; add real rows or give gamma")
    curves = np.zeros(len(_FACTORS))
    each = []
    for problem, problem_key in zip(problems, jax.random.split(key, len(problems)), strict=True):
        curve = _curve(problem, problem_key) if problem.real.shape[0] > 1 else np.full(len(_FACTORS), np.nan)
        each.append(curve)
        curves += problem.proportion**2 * np.nan_to_num(curve)
    best = int(np.argmin(curves))
    bands = [problem.noise_band for problem in problems]
    # A label with one real row has no band of its own; it borrows the largest.
    bands = [band if np.isfinite(band) else max(b for b in bands if np.isfinite(b)) for band in bands]
    return [float(_FACTORS[best] * band) for band in bands], [float(curve[best]) for curve in each]


def _curve(problem: _Problem, key: PRNGKeyArray) -> np.ndarray:
    """Held-out MMD^2 for every candidate penalty: all folds and candidates are columns of one solve."""
    n = problem.real.shape[0]
    fold_key, row_key = jax.random.split(key)
    some = min(problem.size, _CHOICE_LIMIT)
    positions = np.sort(np.asarray(jax.random.permutation(row_key, problem.size))[:some])
    pool = problem.take(positions)
    cross = gram(problem.kernel, pool, problem.real)
    attraction = jnp.mean(cross, axis=1)
    K = centred(gram(problem.kernel, pool, pool), attraction, problem.within_real)
    folds = min(n, 10)
    parts = np.array_split(np.asarray(jax.random.permutation(fold_key, n)), folds)
    validate = jnp.stack([jnp.mean(cross[:, part], axis=1) for part in parts], axis=1)
    sizes = np.array([len(part) for part in parts])
    train = (n * attraction[:, None] - sizes * validate) / (n - sizes)
    gammas = _FACTORS * problem.noise_band
    count = len(gammas)
    linear = jnp.tile(train - attraction[:, None], (1, count))
    solution = minimise(
        K,
        linear.astype(K.dtype),
        jnp.asarray(np.repeat(gammas, folds) * some, K.dtype),
        cap=max(problem.cap, 1.0 / some),
        floor=np.zeros(count * folds),
        relative=0.0,
        absolute=0.02 * problem.noise_band,
        max_steps=400,
    )
    to_train = np.asarray(solution.certificate.value + 2.0 * jnp.sum(linear * solution.a, axis=0))
    towards = np.asarray(jnp.sum((attraction[:, None] - jnp.tile(validate, (1, count))) * solution.a, axis=0))
    pairs = problem.within_real - problem.noise_band
    errors = (to_train + 2.0 * towards - problem.within_real + pairs).reshape(count, folds)
    return errors @ sizes / n


@jax.jit
def centred(
    K: Float[Array, "m m"], attraction: Float[Array, " m"], within_real: float | Float[Array, ""]
) -> Float[Array, "m m"]:
    """<phi(e_j) - mu, phi(e_l) - mu> with mu the mean of the real rows: on the simplex MMD^2 is w' K w.

    Centring takes out the large constant part of the kernel, which costs digits and conditioning.
    """
    return K - attraction[:, None] - attraction[None, :] + within_real


def _solve_exact(
    problem: _Problem, gamma: float, heldout: float, tolerance: float, max_steps: int, _key: PRNGKeyArray
) -> tuple[GroupFit, np.ndarray]:
    fit, a, _ = _fit_rows(problem, np.arange(problem.size), gamma, heldout, tolerance, max_steps)
    return fit, a


def _fit_rows(
    problem: _Problem, positions: np.ndarray, gamma: float, heldout: float, tolerance: float, max_steps: int
) -> tuple[GroupFit, np.ndarray, Array]:
    """Solve on some rows of the pool with their kernel matrix held whole."""
    pool, m = problem.take(positions), len(positions)
    attraction = _mean_columns(problem.kernel, pool, problem.real)
    K = centred(gram(problem.kernel, pool, pool), attraction, problem.within_real)
    cap = max(problem.cap, 1.0 / m)
    rho = jnp.full(1, gamma * m, K.dtype)
    solution = minimise(
        K,
        jnp.zeros((m, 1), K.dtype),
        rho,
        cap=cap,
        floor=np.full(1, gamma),
        relative=tolerance,
        absolute=1e-7,
        max_steps=max_steps,
    )
    a = solution.a[:, 0]
    constant = problem.within_real - attraction @ a
    g = constant - K @ a
    offset = _offset(g, gamma, cap)
    keep = np.flatnonzero(np.asarray(a) > 0)
    witness = Witness(
        problem.kernel,
        jnp.concatenate([problem.real, pool[keep]]),
        jnp.concatenate([jnp.full(len(problem.real), 1.0 / len(problem.real), a.dtype), -a[keep]]),
    )
    fit = GroupFit(
        label=problem.label,
        proportion=problem.proportion,
        real_rows=len(problem.real),
        synthetic_rows=problem.size,
        mmd2_before=float(jnp.mean(K)),
        mmd2_after=float(solution.certificate.value[0]),
        heldout_mmd2=heldout,
        noise_band=problem.noise_band,
        regularization=gamma,
        gap=float(solution.certificate.gap[0]),
        ess=float(1.0 / jnp.sum(a * a)),
        converged=bool(solution.converged[0]),
        rows=problem.rows,
        witness=witness,
        offset=offset,
    )
    return fit, np.asarray(a), g


def _offset(g: Array, gamma: float, cap: float) -> float:
    """nu of w_j = clip((g_j - nu) / (gamma m), 0, cap)."""
    if gamma == 0:
        return float("nan")
    rho = gamma * g.shape[0]
    x = g / rho
    return float(threshold(x, jnp.ones((), x.dtype), jnp.asarray(cap, x.dtype)) * rho)


def _solve_extended(
    problem: _Problem, gamma: float, heldout: float, tolerance: float, max_steps: int, key: PRNGKeyArray
) -> tuple[GroupFit, np.ndarray]:
    """Solve on `EXACT_LIMIT` rows and extend by the closed form of the penalised optimum."""
    positions = np.sort(np.asarray(jax.random.permutation(key, problem.size))[:EXACT_LIMIT])
    fit, a, _ = _fit_rows(problem, positions, gamma, heldout, tolerance, max_steps)
    if gamma == 0:
        weights = np.zeros(problem.size, np.float32)
        weights[positions] = a
        return fit, weights
    g = jnp.asarray(evaluate(fit.witness, _View(problem)))
    offset = _offset(g, gamma, problem.cap)
    w = np.asarray(jnp.clip((g - offset) / (gamma * len(g)), 0.0, problem.cap))
    return replace(fit, offset=offset, ess=float(1.0 / np.sum(w.astype(np.float64) ** 2))), w


class _View:
    """A label's rows of the pool, read when they are sliced."""

    def __init__(self, problem: _Problem) -> None:
        self._problem = problem
        self.shape = (problem.size, problem.pool.shape[1])

    def __getitem__(self, part: slice) -> Any:
        return self._problem.pool[self._problem.rows[part]]


def _gather(weights: np.ndarray, groups: tuple[GroupFit, ...], kernel: Kernel, method: str) -> Alignment:
    def total(name: str) -> float:
        return float(sum(group.proportion**2 * getattr(group, name) for group in groups))

    few = [g for g in groups if g.real_rows < _FEW_ROWS]
    if few:
        names = ", ".join("real" if g.label is None else f"label {g.label!r}" for g in few)
        warnings.warn(
            f"{names}: fewer than {_FEW_ROWS} real rows, so few that the weights may follow chance",
            stacklevel=3,
        )
    late = [g for g in groups if not g.converged]
    status = "converged"
    if late:
        status = f"unfinished: gap {max(g.gap for g in late):.2g} above the tolerance; raise max_steps"
    weights = weights / weights.sum(dtype=np.float64)
    return Alignment(
        weights=weights.astype(np.float32),
        mmd2_before=total("mmd2_before"),
        mmd2_after=total("mmd2_after"),
        heldout_mmd2=total("heldout_mmd2"),
        noise_band=total("noise_band"),
        regularization={g.label: g.regularization for g in groups},
        gap=total("gap"),
        ess=float(1.0 / np.sum(weights.astype(np.float64) ** 2)),
        converged=not late,
        status=status,
        method=method,
        kernel=kernel,
        groups=groups,
    )


@jax.jit
def _mean_columns(kernel: Kernel, rows: Float[Array, "m d"], real: Float[Array, "n d"]) -> Float[Array, " m"]:
    return jnp.mean(gram(kernel, rows, real), axis=1)


@jax.jit
def mean_gram(kernel: Kernel, x: Float[Array, "n d"]) -> Float[Array, ""]:
    return jnp.mean(gram(kernel, x, x))
