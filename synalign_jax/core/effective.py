"""How many equally weighted rows weights are worth."""

from __future__ import annotations

import numpy as np


def effective_rows(weights: np.ndarray) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2 of non-negative weights (Survey Sampling, 1965).

    0 for weights that are all 0.
    """
    weights = np.asarray(weights, np.float64)
    squares = float(weights @ weights)
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0
