"""A weight for every row of a Ray data set, by the witness of an alignment of a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from synalign_jax.core.align.alignment import Alignment

from .connect import check_workers, connected, explained

if TYPE_CHECKING:
    from ray.data import Dataset  # pyright: ignore[reportMissingImports]

_ROWS = 16_384


def score(
    rows: Dataset,
    alignment: Alignment,
    *,
    workers: int,
    column: str = "embedding",
    label: str | None = None,
) -> Dataset:
    """Add a column `weight`: `Alignment.score` of each row, on the scale of the alignment's weights.

    Args:
        rows: with a column of vectors of the alignment's width.
        alignment: of `align`, with a penalty, on a random sample of these rows.
        workers: processes that score.
        column: the vectors.
        label: the column of labels; needed where the alignment is by label.

    Raises:
        ClusterError: no ray, or no cluster. InputError, for bad rows, is heard when the data set is computed.
    """
    check_workers(workers)
    ray = connected()
    with explained():
        return rows.map_batches(
            _Scoring,
            fn_constructor_args=(alignment, column, label),
            batch_size=_ROWS,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
        )


class _Scoring:
    def __init__(self, alignment: Alignment, column: str, label: str | None) -> None:
        self._alignment, self._column, self._label = alignment, column, label

    def __call__(self, rows: pa.Table) -> pa.Table:
        vectors = np.stack(rows[self._column].to_numpy()).astype(np.float32) if len(rows) else None
        if vectors is None:
            return rows.append_column("weight", pa.array([], pa.float64()))
        labels = None if self._label is None else rows[self._label].to_pylist()
        return rows.append_column("weight", pa.array(self._alignment.score(vectors, labels), pa.float64()))
