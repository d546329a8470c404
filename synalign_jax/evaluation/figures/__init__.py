"""The report's pictures, one a file, as inline SVG that follows the page's light or dark colours."""

from .accuracy import accuracy_figure
from .coverage import coverage_figure
from .distance import distance_figure
from .plane import plane_figures, principal_plane
from .selection import selection_figure
from .weights import weight_figure

__all__ = [
    "accuracy_figure",
    "coverage_figure",
    "distance_figure",
    "plane_figures",
    "principal_plane",
    "selection_figure",
    "weight_figure",
]
