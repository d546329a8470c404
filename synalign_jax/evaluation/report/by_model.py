"""Rows and weights summed up by the model that wrote them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .facts import ModelRows


def by_model(models: Sequence[str], weights: np.ndarray) -> tuple[ModelRows, ...]:
    """What each model's rows count for, the model with most rows first.

    Args:
        models: (m,) the name of every row's model.
        weights: (m,) of the same rows, at least 0; at whatever scale.

    Raises:
        ValueError: not as many weights as rows.
    """
    if len(models) != len(weights):
        raise ValueError(f"{len(models)} rows and {len(weights)} weights; each row has one")
    of_row = np.asarray(weights, np.float64)
    total = of_row.sum()
    names, numbers = np.unique(np.asarray(models, str), return_inverse=True)
    rows = np.bincount(numbers, minlength=len(names))
    held = np.bincount(numbers, of_row, minlength=len(names)) / (total or 1.0)
    found = [
        ModelRows(name, int(count), float(share * len(of_row) / count), float(share))
        for name, count, share in zip(names.tolist(), rows, held, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.rows, one.model)))
