"""The two sides of an alignment, read so that they fit each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .machines import Machines
from .rows import embed_rows, read_rows

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.evaluation.report.facts import Copies as CopiesFacts
    from synalign_jax.pipeline.checkpoint import FileCheckpoint
    from synalign_jax.pipeline.data.intake import Intake
    from synalign_jax.pipeline.data.table import Table
    from synalign_jax.pipeline.progress import Terminal


@dataclass(frozen=True)
class Pair:
    """Real rows and pool, their vectors, and what is to be said of both."""

    real: Table
    pool: Table
    real_vectors: np.ndarray
    pool_vectors: Any  # (rows, width), read by slices or positions
    intake: tuple[Intake, Intake]
    own_vectors: tuple[np.ndarray, Any]  # without the labels that are in the vectors of both
    shares: np.ndarray | None = None  # rows that were down-weighted: the pool's row that stands for each
    copies: CopiesFacts | None = None  # among all rows of the file

    def file_weights(self, weights: np.ndarray) -> np.ndarray:
        """One weight a row of the pool's files: 0 for a row left out, an equal part for each repeated one."""
        import numpy as np

        if self.shares is None:
            return self.pool.spread(weights)
        given = self.shares >= 0
        sizes = np.bincount(self.shares[given], minlength=len(weights))
        result = np.zeros(len(self.shares), weights.dtype)
        result[given] = (weights / np.maximum(sizes, 1))[self.shares[given]]
        return result

    @property
    def labels(self) -> tuple[list[str] | None, list[str] | None]:
        """What the rows are weighed within; where rows have several, they are in the vectors instead."""
        if self.real.label_sets is not None:
            return None, None
        return self.real.labels, self.pool.labels

    @property
    def judged_by(self) -> tuple[Sequence[Any] | None, Sequence[Any] | None]:
        """The labels that a student learns; a tuple of them for each row that may have several."""
        if self.real.label_sets is not None:
            return self.real.label_sets, self.pool.label_sets
        return self.labels


def read_pair(
    options: argparse.Namespace, terminal: Terminal, scratch: Path, ours: Machines | None = None
) -> Pair:
    """
    Raises:
        DataError: a file that cannot be read; labels in one file only; a label that the pool lacks.
        InputError: vectors that do not fit each other.
    """
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.data.label_sets import joint_vectors

    if not 0 < options.duplicate_threshold <= 1:
        raise DataError(
            f"--duplicate-threshold: {options.duplicate_threshold:g}; give a number above 0, up to 1"
        )
    real = read_rows(options.real, options, terminal, scratch, "real")
    pool = read_rows(options.synthetic, options, terminal, scratch, "synthetic", ours)
    real, pool, remarks = _with_labels(real, pool, options)
    (real_vectors, pool_vectors), source = embed_rows(
        [(options.real, real), (options.synthetic, pool)], options, terminal, ours
    )
    pool, pool_vectors, shares, found, copies = _without_copies(
        real, pool, real_vectors, pool_vectors, options, terminal, ours or Machines()
    )
    remarks += found
    intake = (
        intake_of("real rows", real, vectors=source),
        intake_of("synthetic rows", pool, vectors=source, remarks=tuple(remarks)),
    )
    own = real_vectors, pool_vectors
    if real.label_sets is not None and pool.label_sets is not None:
        real_vectors, pool_vectors = joint_vectors(
            (real_vectors, pool_vectors), (real.label_sets, pool.label_sets)
        )
    return Pair(real, pool, real_vectors, pool_vectors, intake, own, shares, copies)


def unfinished(options: argparse.Namespace, settings: Any, inputs: Sequence[Any]) -> FileCheckpoint:
    """Where pieces of this computation are kept beside --out until the result is there.

    Of several processes none keeps any: they would have to agree on what there is.
    """
    from synalign_jax.pipeline.checkpoint import FileCheckpoint, fingerprint

    out, together = Path(options.out), options.distributed or options.coordinator is not None
    key = None if together else fingerprint(settings, *inputs)
    return FileCheckpoint(out.with_name(f".{out.name}.unfinished"), key)


def _without_copies(
    real: Table,
    pool: Table,
    real_vectors: np.ndarray,
    pool_vectors: np.ndarray,
    options: argparse.Namespace,
    terminal: Terminal,
    ours: Machines,
) -> tuple[Table, Any, np.ndarray | None, list[str], CopiesFacts]:
    """The pool as --duplicates and --leaks want it; the row that stands for each of the files; remarks; and
    what the report tells of copies.
    """
    import numpy as np

    from synalign_jax.pipeline.data.copies import Copies, conflicting, find_copies
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.table import choose_rows
    from synalign_jax.pipeline.on_disk import SomeRows
    from synalign_jax.pipeline.stages.report_parts import copies_of

    sides = (pool.texts, pool_vectors, pool.labels), (real.texts, real_vectors, real.labels)
    inputs = [part for side in sides for part in side]
    kept = unfinished(options, ("copies", options.duplicate_threshold), inputs)
    if (known := kept.get("copies")) is not None:
        copies = Copies(**known)
    else:
        with terminal.bar("Looking for copies", len(pool), "rows") as bar:
            # Any row may repeat any other: one process has the index of all, and tells what it has found.
            found = ours.of_first(
                lambda: vars(
                    find_copies(
                        (pool.texts, pool_vectors),
                        (real.texts, real_vectors),
                        labels=(pool.labels, real.labels),
                        threshold=options.duplicate_threshold,
                        tell=bar.reach,
                    )
                )
            )
        copies = Copies(**found)
        kept.put("copies", **vars(copies))
    remarks = copies.remarks(pool.position)
    if real.texts is not None and real.labels is not None:
        count = int(conflicting(real.texts, real.labels).sum())
        if count:
            remarks.append(
                f"{options.real}: conflicting labels: {count:,} rows whose text another one has"
                " under another label; look which is right"
            )
    told = copies_of(copies, pool.texts, real.texts)
    stays = np.ones(len(pool), bool)
    if options.duplicates != "keep":
        stays[:] = False
        stays[copies.distinct] = True
        if not stays.all():
            remarks.append(
                f"--duplicates {options.duplicates}: {stays.sum():,} rows that repeat none are weighed"
            )
    if options.leaks == "drop":
        # All that repeat a copy of a real row go with it.
        stays &= copies.leak[copies.of] < 0
        stays &= copies.leak < 0
    if options.conflicts == "drop":
        stays &= ~copies.conflict
    if stays.all():
        return pool, pool_vectors, None, remarks, told
    kept = np.flatnonzero(stays)
    if len(kept) < 2:
        raise DataError(
            f"{options.synthetic}: {len(kept)} rows are left without copies; there is nothing to weigh"
        )
    shares = None
    if options.duplicates == "down-weight":
        number = np.full(len(pool), -1)
        number[kept] = np.arange(len(kept))
        left = (copies.leak < 0) | (options.leaks != "drop")
        left &= ~copies.conflict | (options.conflicts != "drop")
        of_pool = np.where(left, number[copies.of], -1)
        shares = np.full(pool.in_files, -1)
        shares[np.arange(len(pool)) if pool.rows is None else pool.rows] = of_pool
    vectors = pool_vectors[kept] if isinstance(pool_vectors, np.ndarray) else SomeRows(pool_vectors, kept)
    return choose_rows(pool, kept), vectors, shares, remarks, told


def _with_labels(real: Table, pool: Table, options: argparse.Namespace) -> tuple[Table, Table, list[str]]:
    """Both with labels of one spelling, or both without."""
    from synalign_jax.pipeline.data.columns import Template, closest
    from synalign_jax.pipeline.data.errors import DataError, listed
    from synalign_jax.pipeline.data.labels import match_label_sets, match_labels
    from synalign_jax.pipeline.data.values import SEPARATOR

    if (real.labels is None) != (pool.labels is None):
        (lacking, path, side), (has, other) = (
            ((real, options.real, "real"), (pool, options.synthetic))
            if real.labels is None
            else ((pool, options.synthetic, "synthetic"), (real, options.real))
        )
        names = lacking.others.names
        close = closest(has.columns["label"], names)
        raise DataError(
            f"{path}: no column '{options.label or 'label'}', yet {other} has labels in"
            f" '{has.columns['label']}'; the other columns are {listed(names)}:"
            f" name one with --{side}-label{f' (is it {close!r}?)' if close else ''}, or give --no-labels"
        )
    if real.labels is None or pool.labels is None:
        texts = {name for side in (real, pool) for name in Template(side.template).fields}
        names = list(dict.fromkeys((*real.others.names, *pool.others.names)))
        names = [name for name in names if name not in texts]
        if options.no_labels or not names:
            return real, pool, []
        close = closest("label", names)
        return (
            real,
            pool,
            [
                f"no labels: column 'label' is in neither file; the other columns are {listed(names)}"
                + (f". Is '{close}' the labels? Then give --label {close}" if close else "")
            ],
        )
    classes = real.class_names or pool.class_names
    if real.label_sets is not None and pool.label_sets is not None:
        sets, remarks = match_label_sets(
            (options.real, real.label_sets), (options.synthetic, pool.label_sets), classes
        )
        return real, replace(pool, labels=list(map(SEPARATOR.join, sets)), label_sets=sets), remarks
    labels, remarks = match_labels(
        (options.real, real.labels),
        (options.synthetic, pool.labels),
        classes,
    )
    return real, replace(pool, labels=labels), remarks


def groups_of(pool: Table, path: str, column: str | None) -> list[str] | None:
    """What each row of the pool comes from, by a column that is neither text nor label; None without one.

    Raises:
        DataError: the pool has no such column.
    """
    if column is None:
        return None
    from synalign_jax.pipeline.data.errors import DataError, listed

    if column not in pool.others.names:
        raise DataError(
            f"{path}: no column {column!r} for --group; the other columns are {listed(pool.others.names)}"
        )
    return [str(row.get(column)) for row in pool.others.take(range(len(pool)))]


def drawn_rows(pool: Table, drawn: np.ndarray, weights: np.ndarray) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the pool as they are written, with all of their columns; and the names of these, which a file
    has even where no row was drawn.
    """
    from synalign_jax.pipeline.data.written import with_others

    own = []
    for i in drawn.tolist():
        row: dict[str, Any] = {"index": pool.position(i), "weight": float(weights[i])}
        if pool.texts is not None:
            row["text"] = pool.texts[i]
        if pool.label_sets is not None:
            row["label"] = list(pool.label_sets[i])
        elif pool.labels is not None:
            row["label"] = int(pool.labels[i]) if pool.whole_labels else pool.labels[i]
        own.append(row)
    names = ["index", "weight", *(["text"] if pool.texts is not None else [])]
    names += ["label"] if pool.labels is not None else []
    (blank,) = with_others([dict.fromkeys(names)], [dict.fromkeys(pool.others.names)])
    return with_others(own, pool.others.take(drawn.tolist())), list(blank)
