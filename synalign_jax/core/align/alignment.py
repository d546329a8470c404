"""What `align` found: the weights, how near they bring the pool, and how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synalign_jax.core.checks import InputError, as_floats, check_rows
from synalign_jax.core.kernels import Kernel

from .fit import Fit
from .origin import Moved
from .space import Seen, Space


@dataclass(frozen=True)
class GroupFit:
    """One label's fit, or the whole pool's without labels. Every MMD^2 is within the label.

    `fit` is that of the objective, in `space`; the other MMD^2 are those of the space as given.
    """

    label: Any
    proportion: float
    real_rows: int
    rows: np.ndarray  # positions in the pool
    regularization: float
    mmd2_before: float
    mmd2_after: float
    heldout_mmd2: float
    noise_band: float
    method: str
    fit: Fit
    space: Space | None

    @property
    def objective(self) -> float:
        """What was minimised: MMD^2 in `space` plus the penalty."""
        weights = self.fit.weights.astype(np.float64)
        return self.fit.after + self.regularization * (len(weights) * float(weights @ weights) - 1.0)

    def score(self, embeddings: Any) -> np.ndarray:
        """Weights, on the scale of the pool's, by the closed form of the penalised optimum."""
        if not self.fit.closed_form.strength > 0:
            raise InputError(
                "score: without a penalty the optimum has no closed form; align with a gamma above 0"
            )
        rows = embeddings if self.space is None else Seen(embeddings, self.space)
        return self.proportion / len(self.rows) * self.fit.closed_form(rows)


@dataclass(frozen=True)
class Alignment:
    """What `align` found.

    Attributes:
        weights: (m,) not negative, summing to 1, in the pool's order.
        mmd2_before: MMD^2 between the real rows and the pool under equal weights within each label.
        mmd2_after: MMD^2 under `weights`. Below `noise_band` it is overfitting, not progress.
        heldout_mmd2: cross-validated estimate of MMD^2 to the law of the real rows. The penalty was chosen by
            it, so with rows of few dimensions it may be low by some tenths of the noise band
            (docs/alignment.md); it can be negative. NaN when `regularization` was given and so nothing was
            held out.
        noise_band: expected MMD^2 between that law and a sample of as many rows as `real` has.
        regularization: gamma, one a group.
        spectral_power: how much more the pool's leading principal components count in the objective; 0 is the
            space as given.
        objective: what was minimised: MMD^2 in that space plus the penalty.
        gap: the optimum of the objective lies at most this far below it.
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
    spectral_power: float
    objective: float
    gap: float
    ess: float
    converged: bool
    status: str
    method: str
    kernel: Kernel
    width: int  # columns of the rows
    groups: tuple[GroupFit, ...]
    origin: np.ndarray | None = None  # what rows are moved by before anything is computed

    def __repr__(self) -> str:
        """What to read of it first: the arrays would fill the screen."""
        held_out = "" if math.isnan(self.heldout_mmd2) else f" ({self.heldout_mmd2:.3g} on rows left out)"
        return (
            f"<Alignment of {len(self.weights):,} rows: MMD^2 {self.mmd2_before:.3g}, weighted"
            f" {self.mmd2_after:.3g}{held_out}; {self.ess:,.0f} effective rows; {self.status}>"
        )

    def score(self, synthetic: Any, labels: Sequence[Any] | None = None) -> np.ndarray:
        """Weights for synthetic rows that arrive later, without solving again, on the scale of `weights`.

        Raises:
            InputError: bad rows; labels missing, or unknown to the fit; or an unregularised fit.
        """
        synthetic = as_floats(synthetic)
        check_rows("synthetic", synthetic, width=self.width)
        if self.origin is not None:
            synthetic = Moved(synthetic, self.origin)
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

    def summary(self) -> dict[str, Any]:
        """Its plain values and each label's, as JSON can hold them: NaN is None."""
        labels = [
            {
                "label": None if group.label is None else str(group.label),
                "share": group.proportion,
                "real_rows": group.real_rows,
                "pool_rows": len(group.rows),
                "mmd2_before": group.mmd2_before,
                "mmd2_after": group.mmd2_after,
                "heldout_mmd2": _or_none(group.heldout_mmd2),
                "noise_band": _or_none(group.noise_band),
                "regularization": group.regularization,
                "ess": float(1.0 / np.sum(group.fit.weights.astype(np.float64) ** 2)),
            }
            for group in self.groups
        ]
        return {
            "mmd2_before": self.mmd2_before,
            "mmd2_after": self.mmd2_after,
            "heldout_mmd2": _or_none(self.heldout_mmd2),
            "noise_band": _or_none(self.noise_band),
            "spectral_power": self.spectral_power,
            "objective": self.objective,
            "gap": self.gap,
            "ess": self.ess,
            "converged": self.converged,
            "status": self.status,
            "method": self.method,
            "labels": labels,
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
