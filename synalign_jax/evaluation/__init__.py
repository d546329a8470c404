"""Students, metrics, figures and the report: what tells a user whether it worked."""

from .figures import (
    accuracy_figure,
    coverage_figure,
    distance_figure,
    plane_figures,
    principal_plane,
    selection_figure,
    weight_figure,
)
from .metrics import Comparison, TrainingSet, compare_training_sets
from .report.facts import Distance, Figure, LLMUsage, ReportFacts, Stage, SyntheticRow
from .report.page import render_report, write_report
from .scores import ClassScore, Estimate, StudentScore, accuracy, macro_f1, wilson_interval
from .students import Student, predict, train_student

__all__ = [
    "ClassScore",
    "Comparison",
    "Distance",
    "Estimate",
    "Figure",
    "LLMUsage",
    "ReportFacts",
    "Stage",
    "Student",
    "StudentScore",
    "SyntheticRow",
    "TrainingSet",
    "accuracy",
    "accuracy_figure",
    "compare_training_sets",
    "coverage_figure",
    "distance_figure",
    "macro_f1",
    "plane_figures",
    "predict",
    "principal_plane",
    "render_report",
    "selection_figure",
    "train_student",
    "weight_figure",
    "wilson_interval",
    "write_report",
]
