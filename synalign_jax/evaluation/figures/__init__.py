"""The report's pictures, one a file, as inline SVG that follows the page's light or dark colours."""

from .accuracy import accuracy_figure
from .course import course_figure
from .coverage import coverage_figure
from .distance import distance_figure
from .kinds import Shares, shares_figure
from .lengths import length_figure
from .neighbors import NoPicture, neighbor_figures
from .plane import plane_figures, principal_plane
from .selection import selection_figure
from .weights import weight_figure

__all__ = [
    "NoPicture",
    "Shares",
    "accuracy_figure",
    "course_figure",
    "coverage_figure",
    "distance_figure",
    "length_figure",
    "neighbor_figures",
    "plane_figures",
    "principal_plane",
    "selection_figure",
    "shares_figure",
    "weight_figure",
]
