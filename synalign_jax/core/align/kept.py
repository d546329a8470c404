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
    return arrays | pack_form(fit.closed_form)


def unpack(arrays: Mapping[str, np.ndarray], kernel: Kernel) -> tuple[Fit, float, float]:
    """What `pack` was given."""
    before, after, gap, converged, given_before, given_after = arrays["numbers"].tolist()
    form = unpack_form(arrays, kernel)
    return Fit(arrays["weights"], before, after, gap, bool(converged), form), given_before, given_after


def pack_form(form: ClosedForm, prefix: str = "") -> dict[str, np.ndarray]:
    """A closed form, with those that it corrects, as arrays whose names begin with the prefix."""
    arrays, depth, of_depth = {}, 0, form
    while of_depth is not None:
        arrays[f"{prefix}centers{depth}"] = np.asarray(of_depth.witness.centers)
        arrays[f"{prefix}coefficients{depth}"] = np.asarray(of_depth.witness.coefficients)
        arrays[f"{prefix}form{depth}"] = np.array(
            [of_depth.strength, of_depth.offset, of_depth.cap, of_depth.pull]
        )
        of_depth, depth = of_depth.earlier, depth + 1
    return arrays


def unpack_form(arrays: Mapping[str, np.ndarray], kernel: Kernel, prefix: str = "") -> ClosedForm:
    """What `pack_form` was given."""
    form = None
    for depth in reversed(range(sum(name.startswith(f"{prefix}form") for name in arrays))):
        witness = Witness(
            kernel,
            jnp.asarray(arrays[f"{prefix}centers{depth}"]),
            jnp.asarray(arrays[f"{prefix}coefficients{depth}"]),
        )
        strength, offset, cap, pull = arrays[f"{prefix}form{depth}"].tolist()
        form = ClosedForm(witness, strength, offset, cap, pull, form)
    assert form is not None
    return form
