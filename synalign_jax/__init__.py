"""Synthetic text sets that are distributed like the few real examples you have."""

from .core.coverage import best_cosine, hull_coverage
from .core.explore import Exploration, explore
from .core.posterior import PosteriorState, posterior_init, posterior_update

__all__ = [
    "Exploration",
    "PosteriorState",
    "best_cosine",
    "explore",
    "hull_coverage",
    "posterior_init",
    "posterior_update",
]
