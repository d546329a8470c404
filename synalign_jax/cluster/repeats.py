"""Rows of a Ray data set that repeat earlier ones: workers fold and hash the texts, one index decides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from synalign_jax.pipeline.data.copies import TextCopies
from synalign_jax.pipeline.data.duplicates import shingled

from .connect import check_workers, connected, explained
from .read import ROWS

if TYPE_CHECKING:
    from ray.data import Dataset  # pyright: ignore[reportMissingImports]


def find_repeats(
    rows: Dataset, *, workers: int, threshold: float = 0.7, column: str = "text", label: str | None = None
) -> np.ndarray:
    """The earlier row that each row repeats, exactly or nearly; itself where there is none.

    The same, row by row, as `synalign align` finds by texts on one machine: the order of the rows decides
    which of two is the repetition, so the index is one, in this process, and takes some 1.9 kB a row.

    Args:
        rows: with a column of texts.
        workers: tasks that prepare the texts.
        threshold: Jaccard similarity of word pairs from which two texts are one.
        column: the texts.
        label: the column of labels, if only rows of one label are to count as repetitions.

    Returns:
        (rows,) positions, in the order of the data set.

    Raises:
        ClusterError: no ray, or no cluster.
        ValueError: a threshold out of range.
    """
    check_workers(workers)
    ray = connected()
    known, of = TextCopies(threshold), []
    columns = [column] if label is None else [column, label]
    with explained():
        chosen = rows.select_columns(columns)
        chosen.context.execution_options.preserve_order = True
        ready = chosen.map_batches(
            partial(_shingle, column=column),
            batch_size=ROWS,
            compute=ray.data.TaskPoolStrategy(size=workers),
        )
        for batch in ready.iter_batches(batch_size=ROWS):
            labels = [""] * len(batch[column]) if label is None else batch[label]
            for text, own_label, own in zip(batch[column], labels, batch["shingled"], strict=True):
                found, _ = known.look(len(of), str(text), str(own_label), own)
                of.append(of[found] if found < len(of) else found)
    return np.array(of, np.int64)


def _shingle(batch: Any, column: str) -> Any:
    found: np.ndarray = np.empty(len(batch[column]), object)
    found[:] = [shingled(str(text)) for text in batch[column]]
    return {**batch, "shingled": found}
