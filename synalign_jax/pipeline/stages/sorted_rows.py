"""The new rows as if only some real rows were known, so that the others can judge what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from synalign_jax.core.joined import JoinedRows
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView, values_of
from synalign_jax.pipeline.loop.student import FAILS, student_of
from synalign_jax.pipeline.tools import Tools

from .embed import vectors_of

_COLUMNS = ("label", "asked_label", "cluster", "demonstrations")
_BLOCK = 16_384


@dataclass(frozen=True)
class SortedRows:
    """The rows that the run kept, and then those that the student of the real rows has thrown out or given
    another label, as they came to it.

    Attributes:
        vectors: (m, d), read by slices or positions.
        table: m rows with their label here and the one that was asked for.
        centers: (m,) the real row about which each one's demonstrations were chosen.
        kept: how many the run kept; they come first.
    """

    vectors: Any
    table: pa.Table
    centers: Int[np.ndarray, " m"]
    kept: int

    @property
    def labels(self) -> list[str]:
        return values_of(self.table["label"].dictionary_encode())

    @property
    def groups(self) -> list[tuple[str, int]]:
        """What each row comes from: its label and the cluster of its demonstrations."""
        return list(zip(self.labels, self.table["cluster"].to_pylist(), strict=True))

    def selected(
        self,
        config: Config,
        real: Float[np.ndarray, "n d"],
        labels: Sequence[str],
        seen: Bool[np.ndarray, " n"],
        rows: Int[np.ndarray, " k"],
    ) -> Bool[np.ndarray, " k"]:
        """Which of the `rows` there would be if only the real rows `seen` were known: those that were asked
        for about one of them, and whose label a student of them leaves as it is here.

        That no other real row was shown at all would be too much: near a row left out, rows of other labels
        would be all that is there.
        """
        if seen.all():
            return rows < self.kept
        of_seen = [label for label, known in zip(labels, seen, strict=True) if known]
        own = np.array(self.table["label"].take(rows).to_pylist())
        return seen[self.centers[rows]] & (self._relabelled(config, real[seen], of_seen, rows) == own)

    def _relabelled(
        self,
        config: Config,
        real: Float[np.ndarray, "n d"],
        labels: Sequence[str],
        rows: Int[np.ndarray, " k"],
    ) -> np.ndarray:
        """(k,) labels after a student of these real rows was asked; None where it has thrown the row out."""
        asked = self.table["asked_label"].take(rows).to_pylist()
        student = student_of(config, real, labels)
        if student is None or not student.usable:
            return np.array(asked)
        found = []
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            found += student.verdicts([{"label": label} for label in asked[block]], self.vectors[rows[block]])
        relabels = config.judge.on_failure == "relabel"
        return np.array(
            [
                label if reason is None else better if relabels else None
                for label, (reason, better) in zip(asked, found, strict=True)
            ],
            object,
        )


def sorted_rows(view: StageView, config: Config, tools: Tools, made: Any) -> SortedRows:
    """Read `synthetic`, whose (k, d) vectors are `made`, and of `rejected` what the student has thrown out.

    A label that a model has found counts as asked for: the model was asked after the student, whatever that
    had seen of the real rows.
    """
    rows = view.read_table("synthetic", _COLUMNS)
    kept, parts, vectors = len(rows), [rows], [made]
    if config.judge.llm:
        parts = [_asked_for(rows, "label")]
    else:
        labels, asked = (np.array(rows[name].to_pylist()) for name in ("label", "asked_label"))
        if len(other := np.flatnonzero(labels != asked)):
            parts.append(_asked_for(rows.take(other), "asked_label"))
            vectors.append(made[other])
    out = view.read_table("rejected", (*_COLUMNS, "text", "reason"))
    out = out.filter(pc.call_function("equal", [out["reason"], pa.scalar(FAILS)]))
    if len(out):
        parts.append(_asked_for(out.select(_COLUMNS), "label"))
        vectors.append(vectors_of(view, tools, out["text"].to_pylist(), "align: embed sorted rows"))
    table = pa.concat_tables(parts)
    return SortedRows(
        JoinedRows(vectors) if len(vectors) > 1 else made,
        table,
        pc.call_function("list_element", [table["demonstrations"], pa.scalar(0)]).to_numpy(),
        kept,
    )


def _asked_for(rows: pa.Table, column: str) -> pa.Table:
    """The rows with the label of this column, as if it had been asked for."""
    return rows.set_column(0, "label", rows[column]).set_column(1, "asked_label", rows[column])
