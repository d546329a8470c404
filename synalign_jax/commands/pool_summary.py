"""What `synalign align` found, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.core.align.alignment import Alignment
    from synalign_jax.evaluation.report.facts import Distance
    from synalign_jax.mixing.mixture import Mixture

_ALL_BUT_EQUAL = 0.99  # of the rows, that are worth as much as all by the weights


def tell(
    results: tuple[Alignment, Mixture],
    distance: Distance | None,
    drawn: np.ndarray,
    place: str,
    resampled: str,
) -> None:
    """Print what `synalign align` found, and where it is written. `distance` is that of its report."""
    from rich.console import Console
    from rich.table import Table as Grid

    from synalign_jax.evaluation.report.numbers import distance_lines

    found, mixture = results
    print(f"{mixture.verdict.text}\n")
    if distance is not None:
        print("\n".join(distance_lines(distance)) + "\n")
        if found.ess > _ALL_BUT_EQUAL * len(found.weights):
            print(
                "The weights are all but equal, since no others were surely nearer to real rows left out of"
                " the fit.\nThe two distances are measured on all real rows, and on those left out.\n"
            )
    grid = Grid(show_header=False, box=None)
    for name, value in _facts(found, drawn):
        grid.add_row(name, value)
    Console().print(grid)
    for name, file in (
        ("Weights to train with, each real row counting 1", "weights.npy"),
        ("Weights of the distribution", "distribution.npy"),
        ("Rows drawn", resampled),
        ("Numbers", "mixture.json and alignment.json"),
        ("Report", "report.html"),
    ):
        print(f"{name}: {place.rstrip('/')}/{file}")


def _facts(found: Alignment, drawn: np.ndarray) -> list[tuple[str, str]]:
    import numpy as np

    gammas = sorted(set(found.regularization.values()))
    spread = f"{gammas[0]:.2g}" if len(gammas) == 1 else f"{gammas[0]:.2g} to {gammas[-1]:.2g} by label"
    return [
        ("spectral power, regularisation gamma", f"{found.spectral_power:g}, {spread}"),
        ("objective", f"{found.objective:.3g} (optimum at most {found.gap:.1g} below)"),
        ("effective sample size", f"{found.ess:,.0f} of {len(found.weights):,}"),
        ("rows drawn", f"{len(drawn):,}, {len(np.unique(drawn)):,} of them distinct"),
        ("status", found.status),
    ]
