"""Synthetic text sets that are distributed like the few real examples you have."""

from .core.align import align
from .core.alignment import Alignment
from .core.checks import InputError
from .core.coverage import best_cosine, hull_coverage
from .core.explore import Exploration, explore
from .core.mmd import mmd2
from .core.posterior import PosteriorState, posterior_init, posterior_update
from .core.resample import resample
from .core.two_sample import two_sample_test

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
