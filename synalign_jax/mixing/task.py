"""What a mix is chosen for: real rows, a sample of the pool, labels as codes, one scale for the students."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from synalign_jax.core.checks import InputError, check_rows

Labels = Sequence[Any] | np.ndarray
PARTS = 4
_DEALS = 5


class Scale(NamedTuple):
    """Rows centred, and of unit mean squared length, so that one range of penalties suits every encoder."""

    center: Float[np.ndarray, " d"]
    size: float

    def __call__(self, rows: Any) -> Float[np.ndarray, "n d"]:
        return ((np.asarray(rows) - self.center) / self.size).astype(np.float32)


class Task(NamedTuple):
    """Attributes:
    real, codes: (n, d) real rows and their labels as positions in `names`.
    sample: (s,) positions in the pool of the rows that candidates are judged with, in rising order.
    rows, row_codes: (s, d) those rows and their labels.
    pool_codes: (m,) labels of the whole pool; -1 where no real row has the label.
    parts: (deals, s) below `PARTS`; students that saw the other parts of a deal say what they think of one.
    """

    real: Float[np.ndarray, "n d"]
    codes: Int[np.ndarray, " n"]
    sample: Int[np.ndarray, " s"]
    rows: Float[np.ndarray, "s d"]
    row_codes: Int[np.ndarray, " s"]
    pool_codes: Int[np.ndarray, " m"]
    parts: Int[np.ndarray, "deals s"]
    names: tuple[Any, ...]
    scale: Scale

    @property
    def classes(self) -> int:
        return len(self.names)


def build_task(
    real: Any,
    real_labels: Labels,
    pool: Any,
    pool_labels: Labels,
    *,
    most: int,
    rng: np.random.Generator,
) -> Task:
    """Check what was given and draw the sample: at most `most` rows of the pool, with known labels.

    Raises:
        InputError: bad arrays, labels of another number, fewer than two labels, or a pool without one row
            whose label a real row has.
    """
    check_rows("real", real)
    check_rows("pool", pool, width=real.shape[1])
    of_real = _labels("real_labels", real_labels, len(real))
    of_pool = _labels("pool_labels", pool_labels, len(pool))
    names = sorted(set(of_real), key=lambda name: (str(type(name)), name))
    if len(names) < 2:
        raise InputError(
            f"real_labels: every real row is labelled {names[0]!r}, so no student can be judged; give real"
            " rows of every label, or leave the labels out"
        )
    place = {name: i for i, name in enumerate(names)}
    pool_codes = np.array([place.get(label, -1) for label in of_pool], np.int32)
    known = np.flatnonzero(pool_codes >= 0)
    surplus = sorted({str(label) for label in of_pool if label not in place})
    if not len(known):
        raise InputError(
            f"pool_labels: no row of the pool has a label of the real rows"
            f" ({', '.join(map(str, names[:5]))}); its labels are {', '.join(surplus[:5])}"
        )
    if surplus:
        warnings.warn(f"{surplus} label rows of the pool but no real row: their weight is 0", stacklevel=3)
    sample = np.sort(rng.permutation(known)[:most])
    rows = np.asarray(pool[sample], np.float32)
    plain = np.asarray(real, np.float32)
    # Copies share a part, or they would vouch for each other's labels.
    of_content = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    both = np.concatenate([plain, rows])
    center = both.mean(axis=0, dtype=np.float64)
    size = float(np.sqrt(np.square(both - center).sum(axis=1).mean()))
    return Task(
        real=plain,
        codes=np.array([place[label] for label in of_real], np.int32),
        sample=sample,
        rows=rows,
        row_codes=pool_codes[sample],
        pool_codes=pool_codes,
        parts=np.stack([rng.permutation(of_content.max() + 1)[of_content] % PARTS for _ in range(_DEALS)]),
        names=tuple(names),
        scale=Scale(center.astype(np.float32), size if size > 0 else 1.0),
    )


def deal(codes: Int[np.ndarray, " n"], folds: int, rng: np.random.Generator) -> Bool[np.ndarray, "folds+1 n"]:
    """The real rows that each fold leaves, held-out ones having their share of every label; at last, all."""
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    kept = np.ones((folds + 1, len(codes)), bool)
    kept[np.arange(len(codes)) % folds, order] = False
    return kept


def _labels(name: str, labels: Labels, rows: int) -> list[Any]:
    if len(labels) != rows:
        raise InputError(f"{name}: {len(labels)} labels for {rows} rows")
    plain = np.asarray(labels).tolist() if isinstance(labels, np.ndarray) else list(labels)
    for i, label in enumerate(plain):
        if label is None or label != label:
            raise InputError(f"{name}: row {i} has none; give every row a label, or drop it")
    return plain
