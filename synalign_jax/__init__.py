"""Synthetic text sets that are distributed like the few real examples you have."""

from .core.align.align import align
from .core.align.alignment import Alignment
from .core.checks import InputError
from .core.explore.coverage import best_cosine, hull_coverage
from .core.explore.exploration import Exploration
from .core.explore.explore import explore
from .core.explore.posterior import PosteriorState, posterior_init, posterior_update
from .core.mmd.mmd import mmd2
from .core.mmd.two_sample import two_sample_test
from .core.resample import resample

__all__ = [
    "Alignment",
    "Exploration",
    "InputError",
    "PosteriorState",
    "align",
    "best_cosine",
    "explore",
    "hull_coverage",
    "mmd2",
    "posterior_init",
    "posterior_update",
    "resample",
    "two_sample_test",
]
