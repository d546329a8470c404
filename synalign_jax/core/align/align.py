"""Weights for synthetic rows: MMD^2 to the real rows plus a penalty towards uniform, least on the simplex."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, Part
from synalign_jax.core.checks import InputError, as_floats, check_prng_key, check_rows
from synalign_jax.core.kernels import Kernel, pooled_rbf
from synalign_jax.core.progress import Tell, silent
from synalign_jax.core.spacing import evenly_spaced

from .alignment import Alignment, GroupFit
from .distance import distance_to_real
from .fit import Fit, fit_exact
from .kept import pack, unpack
from .landmarks.fit import fit_landmarks
from .origin import Moved, origin_of
from .problem import Problem, split
from .projected import fit_projections
from .regularization import POWERS, Choice, choose

EXACT_LIMIT = 8_192  # pool rows a label up to which the kernel matrix is held whole
_FEW_ROWS = 10
_ROUNDING = 1e-4  # of an MMD^2 by a kernel whose values are about 1
_NO_GAP = 4e-6
_NAMED = 5  # labels that one message names
_METHODS = ("auto", "exact", "landmarks", "projections")


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
    spectral_power: float | str = "auto",
    max_weight: float | None = None,
    method: str = "auto",
    mesh: Mesh | None = None,
    tolerance: float = 0.01,
    max_steps: int = 4_000,
    on_progress: Tell = silent,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Alignment:
    """Weigh `synthetic` so that it is distributed like `real`.

    Minimises MMD^2(sum_j w_j delta(e_j), real) + gamma (m sum_j w_j^2 - 1) over the simplex; gamma = 0 is
    SynAlign's equation (section 3.3). With a spectral power p above 0 the MMD is taken after each principal
    component i of the pool is scaled by (variance_i / variance_1)^(p / 2): few real rows tell leading
    components apart long before the others. With labels each label is solved by itself, and its weights sum
    to the label's share of the real rows.

    Args:
        real: (n, d) embeddings of real rows.
        synthetic: (m, d) embeddings of the pool; a `numpy.memmap` need not fit in memory.
        key: decides folds, landmarks and projections.
        kernel: any tinygp kernel; None is RBF with the median distance of the pooled rows.
        real_labels: n labels, strings or integers; given with `synthetic_labels` or not at all.
        synthetic_labels: m labels. Rows whose label no real row has get weight 0.
        label_proportions: label to share, instead of the real rows' shares.
        regularization: gamma, or "auto": chosen by cross-validation on the real rows.
        spectral_power: p, or "auto": chosen with gamma where gamma is "auto", else 0.
        max_weight: the largest weight of one row.
        method: "exact" holds the kernel matrix of the pool. "landmarks" searches the witness function in the
            span of 4,096 rows, with gap and weights for all rows, read in blocks. "auto" is exact up to 8,192
            rows a label. "projections" is SynAlign's own form: no penalty, softmax weights learned by Adam
            through fresh random projections.
        mesh: devices over which the landmark solve and its passes over the pool are split, in one process or
            several.
        tolerance: the gap allowed, relative to the objective.
        max_steps: gradient (exact) or Newton (landmarks) steps, after which an unfinished solve is returned.
        on_progress: called with a piece of the work, how much of it is done and how much there is, as
            ("pass 2 over the pool", 65_536, 1_000_000).
        checkpoint: keeps what is finished: the same call with the same one goes on where it was stopped.

    Raises:
        InputError: bad arrays, labels on one side only, a label that the pool lacks, a setting out of range.
    """
    real, synthetic = as_floats(real), as_floats(synthetic)
    check_prng_key(key)
    check_rows("real", real)
    check_rows("synthetic", synthetic, min_rows=2, width=real.shape[1])
    if method not in _METHODS:
        raise InputError(f"method: {method!r}; choose one of {', '.join(_METHODS)}")
    if isinstance(regularization, str):
        if regularization != "auto":
            raise InputError(f"regularization: {regularization!r}; give 'auto' or a number from 0")
    elif not 0 <= regularization < float("inf"):
        raise InputError(f"regularization: {regularization}; it is finite and not negative")
    origin = origin_of(real, synthetic, kernel)
    if origin is not None:
        real, synthetic = Moved(real, origin)[:], Moved(synthetic, origin)
    if kernel is None:
        some = evenly_spaced(len(synthetic), 512)
        kernel = pooled_rbf(jnp.asarray(real), jnp.asarray(synthetic[some]))
    problems = split(real, synthetic, real_labels, synthetic_labels, label_proportions, kernel, max_weight)
    choice_key, fit_key = jax.random.split(key)
    power, choices = _choose(
        problems, method, regularization, spectral_power, choice_key, on_progress, checkpoint
    )
    weights = np.zeros(len(synthetic))
    groups = []
    keys = jax.random.split(fit_key, len(problems))
    for i, (given, choice, key_of_fit) in enumerate(zip(problems, choices, keys, strict=True)):
        on_progress("solve", i, len(problems))
        problem, gamma = choice.problem, choice.gamma
        chosen = method
        if method == "auto":
            chosen = "exact" if problem.size <= EXACT_LIMIT and mesh is None else "landmarks"
        known = checkpoint.get(f"fit {i}")
        if known is not None:
            fit, before, after = unpack(known, problem.kernel)
        else:
            part = Part(checkpoint, f"{i}")
            fit = _fit(chosen, problem, gamma, tolerance, max_steps, key_of_fit, mesh, on_progress, part)
            before, after = _distances(given, problem, fit, key_of_fit)
            checkpoint.put(f"fit {i}", **pack(fit, before, after))
        within = fit.weights / fit.weights.sum(dtype=np.float64)
        weights[problem.rows] = problem.proportion * within
        _check_distance(problem.label, (before, after), given.within_real)
        groups.append(
            GroupFit(
                label=problem.label,
                proportion=problem.proportion,
                real_rows=len(problem.real),
                rows=problem.rows,
                regularization=gamma,
                mmd2_before=before,
                mmd2_after=after,
                heldout_mmd2=choice.heldout_mmd2,
                noise_band=given.noise_band,
                method=chosen,
                fit=fit,
                space=problem.space,
            )
        )
    return _gather(weights, tuple(groups), kernel, power, real.shape[1], origin)


def _fit(
    method: str,
    problem: Problem,
    gamma: float,
    tolerance: float,
    max_steps: int,
    key: PRNGKeyArray,
    mesh: Mesh | None,
    tell: Tell,
    checkpoint: Checkpoint,
) -> Fit:
    if method == "exact":
        return fit_exact(problem, gamma, tolerance=tolerance, max_steps=max_steps)
    if method == "projections":
        return fit_projections(problem, steps=max_steps, key=key)
    return fit_landmarks(
        problem,
        gamma,
        tolerance=tolerance,
        max_steps=max_steps,
        key=key,
        mesh=mesh,
        tell=tell,
        checkpoint=checkpoint,
    )


def _distances(given: Problem, problem: Problem, fit: Fit, key: PRNGKeyArray) -> tuple[float, float]:
    """MMD^2 before and after in the space as given."""
    if problem.space is None:
        return fit.before, fit.after
    before_key, after_key = jax.random.split(jax.random.fold_in(key, 1))
    within = fit.weights / fit.weights.sum(dtype=np.float64)
    before = distance_to_real(given, np.full(given.size, 1.0 / given.size), before_key)
    return before, distance_to_real(given, within, after_key)


def _choose(
    problems: list[Problem],
    method: str,
    regularization: float | str,
    spectral_power: float | str,
    key: PRNGKeyArray,
    tell: Tell,
    checkpoint: Checkpoint,
) -> tuple[float, list[Choice]]:
    """The spectral power, and each problem in its space with its penalty."""
    if isinstance(spectral_power, str):
        if spectral_power != "auto":
            raise InputError(f"spectral_power: {spectral_power!r}; give 'auto' or a number from 0")
    elif not 0 <= spectral_power < float("inf"):
        raise InputError(f"spectral_power: {spectral_power}; it is finite and not negative")
    if method == "projections":
        if regularization not in ("auto", 0, 0.0):
            raise InputError("regularization: method='projections' has none; leave it out")
        if spectral_power not in ("auto", 0, 0.0):
            raise InputError("spectral_power: method='projections' has none; leave it out")
        return 0.0, [Choice(problem, 0.0, float("nan")) for problem in problems]
    if isinstance(regularization, str):
        powers = POWERS if isinstance(spectral_power, str) else (float(spectral_power),)
        return choose(problems, powers, key, tell, checkpoint)
    # A penalty that was given is meant for the distance that was given.
    power = 0.0 if isinstance(spectral_power, str) else float(spectral_power)
    gamma = float(regularization)
    return power, [Choice(p.weighing_components(power), gamma, float("nan")) for p in problems]


def _gather(
    weights: np.ndarray,
    groups: tuple[GroupFit, ...],
    kernel: Kernel,
    power: float,
    width: int,
    origin: np.ndarray | None,
) -> Alignment:
    few = [group for group in groups if group.real_rows < _FEW_ROWS]
    if few:
        names = ", ".join("real" if g.label is None else f"label {g.label!r}" for g in few[:_NAMED])
        names += f" and {len(few) - _NAMED} labels more" if len(few) > _NAMED else ""
        warnings.warn(
            f"{names}: fewer than {_FEW_ROWS} real rows, so the weights may follow chance", stacklevel=3
        )
    # What is left of an objective near 0 in float32 is rounding and no gap.
    late = [group for group in groups if not group.fit.converged and group.fit.gap > _NO_GAP]
    status = "converged"
    if late:
        worst = max(group.fit.gap for group in late)
        status = f"unfinished: a gap of {worst:.2g} is above the tolerance; raise max_steps (--max-steps)"

    def total(values: list[float]) -> float:
        return float(sum(g.proportion**2 * value for g, value in zip(groups, values, strict=True)))

    return Alignment(
        weights=weights.astype(np.float32),
        mmd2_before=total([g.mmd2_before for g in groups]),
        mmd2_after=total([g.mmd2_after for g in groups]),
        heldout_mmd2=total([g.heldout_mmd2 for g in groups]),
        noise_band=total([g.noise_band for g in groups]),
        regularization={g.label: g.regularization for g in groups},
        spectral_power=power,
        objective=total([g.objective for g in groups]),
        gap=total([g.fit.gap for g in groups]),
        ess=float(1.0 / np.sum(weights**2)),
        converged=not late,
        status=status,
        method=groups[0].method,
        kernel=kernel,
        width=width,
        groups=groups,
        origin=origin,
    )


def _check_distance(label: Any, values: tuple[float, float], scale: float) -> None:
    """An MMD^2 is a squared norm: one below zero by more than rounding shows that nothing can be trusted."""
    name = "" if label is None else f" (label {label!r})"
    for value in values:
        if not value > -_ROUNDING * max(1.0, abs(scale)):
            raise InputError(
                f"real, synthetic{name}: MMD^2 came out as {value:.3g}, which no distance can be: the kernel"
                " loses its digits on these rows; centre and rescale them, or give another kernel"
            )
