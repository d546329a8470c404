"""A label's fit as plain arrays, and back: what a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from synalign_jax.core.kernels import Kernel

from .fit import Fit
from .landmarks.witness import ClosedForm, Witness


def pack(fit: Fit, before: float, after: float) -> dict[str, np.ndarray]:
    """The fit, and the distances in the space as given."""
    numbers = [fit.before, fit.after, fit.gap, float(fit.converged), before, after]
    arrays = {"weights": np.asarray(fit.weights), "numbers": np.array(numbers)}
    form, depth = fit.closed_form, 0
    while form is not None:
        arrays[f"centers{depth}"] = np.asarray(form.witness.centers)
        arrays[f"coefficients{depth}"] = np.asarray(form.witness.coefficients)
        arrays[f"form{depth}"] = np.array([form.strength, form.offset, form.cap, form.pull])
        form, depth = form.earlier, depth + 1
    return arrays


def unpack(arrays: Mapping[str, np.ndarray], kernel: Kernel) -> tuple[Fit, float, float]:
    """What `pack` was given."""
    before, after, gap, converged, given_before, given_after = arrays["numbers"].tolist()
    form = None
    for depth in reversed(range(sum(name.startswith("form") for name in arrays))):
        witness = Witness(
            kernel, jnp.asarray(arrays[f"centers{depth}"]), jnp.asarray(arrays[f"coefficients{depth}"])
        )
        strength, offset, cap, pull = arrays[f"form{depth}"].tolist()
        form = ClosedForm(witness, strength, offset, cap, pull, form)
    assert form is not None
    return Fit(arrays["weights"], before, after, gap, bool(converged), form), given_before, given_after
