"""Rows of a pool that repeat other rows of it, or copy a real row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .duplicates import Shingled, TextIndex, shingled
from .errors import listed

NONE, EXACT, NEAR, SEMANTIC = 0, 1, 2, 3
_ALL_PAIRS = 16_384  # rows up to which every vector is compared with every other
_BLOCK = 2_048
_FEWEST_COLUMNS = 32  # in fewer, unlike rows may point the same way
_CELL = 2_048  # rows that share a cell, beyond that


@dataclass(frozen=True)
class Copies:
    """
    Attributes:
        of: (m,) the earlier row of the pool that each row repeats; itself where there is none. Never a row
            that is a repetition itself. Where rows have labels, only rows of one label repeat each other.
        kind: (m,) how: NONE, EXACT (the same characters), NEAR (nearly the same words), SEMANTIC (nearly the
            same vector).
        leak: (m,) the real row that it copies, exactly or nearly; -1 for none.
        conflict: (m,) whether another row, of the pool or a real one, has its very text under another label.
    """

    of: np.ndarray
    kind: np.ndarray
    leak: np.ndarray
    conflict: np.ndarray

    @property
    def distinct(self) -> np.ndarray:
        """Positions of the rows that repeat no earlier one."""
        return np.flatnonzero(self.kind == NONE)

    def remarks(self, where: Callable[[int], int]) -> list[str]:
        """What to say of them.

        Args:
            where: a row's place in the files.
        """
        said = []
        counts = np.bincount(self.kind, minlength=4)
        if counts[1:].any():
            said.append(
                f"{len(self.of) - counts[NONE]:,} of {len(self.of):,} rows repeat an earlier one:"
                f" {counts[EXACT]:,} exactly, {counts[NEAR]:,} nearly, {counts[SEMANTIC]:,} by their vectors;"
                " --duplicates drop or down-weight has each count once"
            )
        leaks = np.flatnonzero(self.leak >= 0)
        if leaks.size:
            some = listed([where(int(row)) for row in leaks], 5).replace("'", "")
            said.append(
                f"copies of real rows: {leaks.size:,} (rows {some}, counted from 0); a student trained on"
                " them and tested on such rows is flattered; --leaks drop leaves them out"
            )
        if self.conflict.any():
            some = listed([where(int(row)) for row in np.flatnonzero(self.conflict)], 5).replace("'", "")
            said.append(
                f"conflicting labels: {self.conflict.sum():,} rows whose text another row, of the pool or a"
                f" real one, has under another label (rows {some}, counted from 0); --conflicts drop"
                " leaves them out"
            )
        return said


def find_copies(
    pool: tuple[Sequence[str] | None, np.ndarray],
    real: tuple[Sequence[str] | None, np.ndarray],
    *,
    labels: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    threshold: float = 0.7,
    cosine: float = 0.98,
    tell: Callable[[int], None] | None = None,
) -> Copies:
    """
    Args:
        pool, real: texts, and (rows, d) vectors, which are read by slices or positions.
        labels: of both, if there are any.
        threshold: Jaccard similarity of word pairs from which texts nearly repeat each other.
        cosine: of the vectors less their common mean, from which rows repeat each other by meaning.
        tell: called with the number of rows done.
    """
    (texts, vectors), (real_texts, real_vectors) = pool, real
    m = len(vectors)
    of, kind, leak = np.arange(m), np.zeros(m, np.uint8), np.full(m, -1)
    own = [""] * m if labels[0] is None else labels[0]
    conflict = np.zeros(m, bool)
    if texts is not None:
        _by_texts(texts, own, of, kind, threshold, tell)
        sides = [(texts, labels[0]), (real_texts, labels[1])]
        both = [
            (text, label)
            for t, y in sides
            if t is not None and y is not None
            for text, label in zip(t, y, strict=True)
        ]
        if labels[0] is not None:
            conflict = conflicting([text for text, _ in both], [label for _, label in both])[:m]
        if real_texts is not None:
            index, exact = TextIndex(threshold), {text.strip(): row for row, text in enumerate(real_texts)}
            for text in real_texts:
                index.add(text)
            for row, text in enumerate(texts):
                found = exact.get(text.strip())
                found = index.find(text) if found is None else found
                leak[row] = -1 if found is None else found
    else:
        same = {real_vectors[row].tobytes(): row for row in range(len(real_vectors))}
        for start in range(0, m, _BLOCK):
            for row, own_vector in enumerate(np.asarray(vectors[start : start + _BLOCK], real_vectors.dtype)):
                leak[start + row] = same.get(own_vector.tobytes(), -1)
    if vectors.shape[1] >= _FEWEST_COLUMNS or texts is None:
        same = 1.0 if vectors.shape[1] < _FEWEST_COLUMNS else cosine
        _by_vectors(vectors, own, of, kind, same, exact=texts is None)
    while not np.array_equal(of, of[of]):
        of = of[of]
    return Copies(of, kind, leak, conflict)


def conflicting(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(rows,) whether the text stands somewhere under another label; blanks around a text do not count."""
    under: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(texts, labels, strict=True):
        under[text.strip()].add(label)
    return np.fromiter((len(under[text.strip()]) > 1 for text in texts), bool, len(texts))


class TextCopies:
    """Which rows repeat an earlier one by their texts, row after row; only rows of one label do."""

    def __init__(self, threshold: float = 0.7) -> None:
        self._threshold = threshold
        self._first: dict[tuple[str, str], int] = {}
        self._seen: dict[str, tuple[TextIndex, list[int]]] = {}

    def look(self, row: int, text: str, label: str = "", own: Shingled | None = None) -> tuple[int, int]:
        """The earlier row that the next one repeats, or itself, and how: NONE, EXACT or NEAR.

        The row found may itself be an exact repetition of another, never a near one.

        Args:
            own: `shingled(text)`, where another process has made it.
        """
        if label not in self._seen:
            self._seen[label] = TextIndex(self._threshold), []
        index, rows = self._seen[label]
        same = self._first.setdefault((label, text.strip()), row)
        if same != row:
            return same, EXACT
        own = own or shingled(text)
        if (found := index.find(own)) is not None:
            return rows[found], NEAR
        rows.append(row)
        index.add(own)
        return row, NONE


def _by_texts(
    texts: Sequence[str],
    labels: Sequence[str],
    of: np.ndarray,
    kind: np.ndarray,
    threshold: float,
    tell: Callable[[int], None] | None,
) -> None:
    known = TextCopies(threshold)
    for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
        found, how = known.look(row, text, label)
        of[row], kind[row] = of[found], how
        if tell and row % 1_000 == 999:
            tell(row + 1)


def _by_vectors(
    vectors: np.ndarray,
    labels: Sequence[str],
    of: np.ndarray,
    kind: np.ndarray,
    cosine: float,
    *,
    exact: bool,
) -> None:
    """Among the rows that are still distinct: those whose vectors point the way of an earlier one's."""
    rows = np.flatnonzero(kind == NONE)
    points = np.array(vectors[rows], np.float32)
    points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    points /= np.maximum(norms, np.float32(1e-30))
    for cell in _cells(points):
        inside = points[cell]
        for start in range(0, len(cell), _BLOCK):
            close = inside[start : start + _BLOCK] @ inside.T
            for number, column in zip(*np.nonzero(close >= cosine - 1e-6), strict=True):
                later, earlier = cell[start + number], cell[column]
                row, before = rows[later], rows[earlier]
                new = before < row and kind[row] == NONE and kind[before] == NONE
                if new and labels[int(row)] == labels[int(before)]:
                    same = exact and np.array_equal(*vectors[np.array([row, before])])
                    if same or cosine < 1.0:
                        of[row], kind[row] = before, EXACT if same else SEMANTIC


def _cells(points: np.ndarray) -> list[np.ndarray]:
    """Groups of rows that are compared with each other: all, or those nearest to the same of some, twice.

    Rows as near as repetitions are mostly have the same nearest one; the second partition finds most of
    those that the first parts.
    """
    if len(points) <= _ALL_PAIRS:
        return [np.arange(len(points))]
    cells = []
    for seed in (0, 1):
        pivots = np.random.default_rng(seed).choice(len(points), len(points) // _CELL, replace=False)
        nearest = np.concatenate(
            [
                np.argmax(points[start : start + _BLOCK] @ points[pivots].T, axis=1)
                for start in range(0, len(points), _BLOCK)
            ]
        )
        order = np.argsort(nearest, kind="stable")
        ends = np.flatnonzero(np.diff(nearest[order])) + 1
        # A cell that is much too large would be quadratic again: its rows are taken in turns.
        for cell in np.split(order, ends):
            cells += np.array_split(cell, max(1, -(-len(cell) // _ALL_PAIRS)))
    return cells
