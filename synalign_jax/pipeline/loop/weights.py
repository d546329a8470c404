"""Weights between waves, and the distance that they leave: small, warm, and without compiling anything.

The final weights are those of stage align. These decide what is asked next, again and again while a pool
grows, so that they have to cost next to nothing: NumPy, started where the wave before ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from synalign_jax.pipeline.data.growing import VectorsOnDisk

FACTORS = 4.0 ** np.arange(-2, 5)  # candidate penalties, in units of the noise band
_FOLDS = 5
_STEPS = 150
# Threads would wait for each other at every step, the longer the more another wave's work keeps a core busy.
_BLAS = ThreadpoolController()
_LOOK = 10  # steps after which columns that hardly move are left as they are
_STILL = 1e-5  # of a column's weight, moved in a step
_MOST = 2_048  # rows of a label that are weighed, as many as `align` cross-validates on; of more, the last
FEWEST_REAL = 10  # real rows of a label below which nothing is learnt of it


class _Solved(NamedTuple):
    """The weights of a label's rows from the `first` on for the penalties that were tried, (m, tried, folds
    + 1), and the best one."""

    tried: list[int]
    best: int
    weights: np.ndarray
    first: int


@dataclass(frozen=True)
class LabelPicture:
    """What the rows of one label leave open.

    Attributes:
        relative: (m,) weights with mean 1, in the order of the label's rows.
        held: (m, folds) the same, learnt without the real rows of each fold.
        witness: (n,) at each real row, g(z) = mean over the other real rows k(z, z') less the weighted rows'
            k(z, e): positive where real text is that no synthetic row stands for.
        distance: cross-validated, unbiased estimate of MMD^2 to the law of the real rows.
        plain: the same for equal weights.
        band: expected MMD^2 between that law and a sample of as many real rows.
    """

    relative: Float[np.ndarray, " m"]
    held: Float[np.ndarray, "m folds"]
    witness: Float[np.ndarray, " n"]
    distance: float
    plain: float
    band: float


@dataclass(frozen=True)
class Picture:
    """The pictures of the labels that have rows, and their sum once all have: labels count by the square of
    their share of the real rows.
    """

    labels: Mapping[str, LabelPicture]
    distance: float | None
    plain: float | None
    band: float | None


class Weigher:
    """Weighs a growing pool against the real rows. Every call starts from the weights of the last.

    Args:
        real: (n, d) vectors.
        labels: their n labels.
        length_scale: of the RBF kernel.
        seed: deals the folds.

    Attributes:
        rows: positions of each label's real rows.
        fold: (n,) the fold of each real row, dealt within its label.
    """

    def __init__(
        self, real: Float[np.ndarray, "n d"], labels: Sequence[str], length_scale: float, seed: int
    ) -> None:
        self._scale = length_scale
        of_label = np.asarray(labels)
        rng = np.random.default_rng(seed)
        self.rows = {label: np.flatnonzero(of_label == label) for label in sorted(set(labels))}
        self._real = {label: np.asarray(real[rows], np.float64) for label, rows in self.rows.items()}
        self._share = {label: len(rows) / len(of_label) for label, rows in self.rows.items()}
        self._folds = {
            label: rng.permutation(len(rows)) % min(_FOLDS, len(rows)) for label, rows in self.rows.items()
        }
        self.fold = np.zeros(len(of_label), int)
        for label, rows in self.rows.items():
            self.fold[rows] = self._folds[label]
        self._last: dict[str, _Solved] = {}

    @property
    def says_nothing(self) -> list[str]:
        """Labels with too few real rows to learn anything of."""
        return [label for label, rows in self.rows.items() if len(rows) < FEWEST_REAL]

    def picture(
        self, made: Float[np.ndarray, "m d"] | VectorsOnDisk, labels: Sequence[str]
    ) -> Picture | None:
        """What the pool leaves open; None while no label that can be learnt of has two rows."""
        of_label = np.asarray(labels)
        pictures: dict[str, LabelPicture] = {}
        whole = True
        for label, real in self._real.items():
            rows = np.flatnonzero(of_label == label)
            if len(real) < FEWEST_REAL:
                continue
            if len(rows) < 2:
                whole = False
                continue
            pictures[label] = self._label(label, real, np.asarray(made[rows[-_MOST:]], np.float64), len(rows))
        if not pictures:
            return None
        share = {label: self._share[label] ** 2 for label in pictures}

        def total(name: str) -> float | None:
            if not whole:
                return None
            return float(sum(share[label] * getattr(found, name) for label, found in pictures.items()))

        return Picture(pictures, total("distance"), total("plain"), total("band"))

    def _label(self, label: str, real: np.ndarray, kept: np.ndarray, rows: int) -> LabelPicture:
        """The picture of a label of so many rows, from the last of them."""
        n, m = len(real), len(kept)
        within, cross = _rbf(real, real, self._scale), _rbf(kept, real, self._scale)
        pairs = (within.sum() - n) / (n * (n - 1))
        band = (1.0 - pairs) / n
        fold = self._folds[label]
        folds = fold.max() + 1
        # One column a fold and penalty, and one a penalty for all rows.
        targets = np.stack([cross[:, fold != k].mean(axis=1) for k in range(folds)] + [cross.mean(axis=1)], 1)
        last = self._last.get(label)
        # What is best moves slowly while a pool grows: after the first wave its neighbours are tried alone.
        tried = range(len(FACTORS)) if last is None else range(last.best - 1, last.best + 2)
        tried = [i for i in tried if 0 <= i < len(FACTORS)]
        start = np.full((m, len(tried), folds + 1), 1.0 / m)
        if last is not None:
            # New rows begin with none, as most will have none, and a penalty that is new with what its
            # neighbour found.
            nearest = [int(np.argmin(np.abs(np.array(last.tried) - i))) for i in tried]
            known = last.weights[rows - m - last.first :, nearest]
            start[:] = 0.0
            start[: len(known)] = known
        with _BLAS.limit(limits=1, user_api="blas"):
            own = _rbf(kept, kept, self._scale)
            w = minimise(own, targets, band * FACTORS[tried], start)
            errors = [_errors(own, cross, w[:, i, :-1], fold) + pairs for i in range(len(tried))]
        plain = own.sum() / m**2 - 2.0 * cross.mean(axis=0) + pairs
        best = int(np.argmin([error.mean() for error in errors]))
        self._last[label] = _Solved(tried, tried[best], w, rows - m)
        gain = plain - errors[best]
        # Weights that do not beat equal ones by one standard error are not trusted (Breiman et al., 1984).
        trusted = gain.mean() > gain.std(ddof=1) / np.sqrt(n)
        weights = w[:, best, -1] if trusted else np.full(m, 1.0 / m)
        relative, held = np.ones(rows), np.ones((rows, folds))
        relative[-m:] = weights * m
        if trusted:
            held[-m:] = w[:, best, :-1] * m
        others = (within.sum(axis=1) - 1.0) / (n - 1)
        return LabelPicture(
            relative=relative,
            held=held,
            witness=others - weights @ cross,
            distance=float(errors[best].mean() if trusted else plain.mean()),
            plain=float(plain.mean()),
            band=float(band),
        )


def minimise(
    K: Float[np.ndarray, "m m"],
    targets: Float[np.ndarray, "m c"],
    penalties: Float[np.ndarray, " p"],
    start: Float[np.ndarray, "m p c"],
) -> Float[np.ndarray, "m p c"]:
    """argmin over the simplex of w'Kw - 2 w'a + penalty (m w'w - 1), for every target a and every penalty.

    Accelerated projected gradient (Beck and Teboulle, SIAM J. Imaging Sci. 2009) with restarts; no more than
    so many steps, and each column until it stands still, which large penalties do within a fifth of them.
    """
    m, p, c = start.shape
    a = np.repeat(targets[:, None, :], p, axis=1).reshape(m, -1)
    ridge = np.repeat(m * np.asarray(penalties)[:, None], c, axis=1).reshape(-1)
    # The largest eigenvalue of K is at most its largest row sum.
    step = 1.0 / (2.0 * (K.sum(axis=1).max() + ridge))
    w = project(start.reshape(m, -1))
    found, open_ = w.copy(), np.arange(p * c)
    ahead, momentum = w, np.ones(p * c)
    weighed = _Weighed(K)
    for number in range(1, _STEPS + 1):
        gradient = 2.0 * (weighed.times(ahead) + ridge * ahead - a)
        new = project(ahead - step * gradient)
        restart = np.sum((ahead - new) * (new - w), axis=0) > 0
        momentum = np.where(restart, 1.0, momentum)
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = new + np.where(restart, 0.0, (momentum - 1.0) / following) * (new - w)
        moved = np.abs(new - w).sum(axis=0) if number % _LOOK == 0 else None
        w, momentum = new, following
        if moved is not None and not (moving := moved > _STILL).all():
            found[:, open_[~moving]] = w[:, ~moving]
            if not moving.any():
                return found.reshape(m, p, c)
            open_ = open_[moving]
            w, ahead, a = w[:, moving], ahead[:, moving], a[:, moving]
            momentum, ridge, step = momentum[moving], ridge[moving], step[moving]
    found[:, open_] = w
    return found.reshape(m, p, c)


class _Weighed:
    """K @ w by the rows of K that have a weight in any column: after a few steps these are few."""

    def __init__(self, K: Float[np.ndarray, "m m"]) -> None:
        self._K, self._rows, self._part = K, np.arange(len(K)), K

    def times(self, w: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m c"]:
        rows = np.flatnonzero(w.any(axis=1))
        if len(rows) > len(w) // 2:
            return self._K @ w
        if not np.array_equal(rows, self._rows):
            self._rows, self._part = rows, self._K[rows]
        return self._part.T @ w[rows]


def project(v: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m c"]:
    """Each column's nearest point of the simplex (Michelot, J. Optim. Theory Appl. 1986): what lies below the
    level of those that are left is left out, until nothing does. No column has to be sorted.
    """
    m = len(v)
    above, count, level = np.ones(v.shape, bool), np.full(v.shape[1], m), (v.sum(axis=0) - 1.0) / m
    while True:
        above &= v > level
        left = above.sum(axis=0)
        if (left == count).all():
            return np.maximum(v - level, 0.0)
        count, level = left, (np.where(above, v, 0.0).sum(axis=0) - 1.0) / left


def _errors(own: np.ndarray, cross: np.ndarray, w: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n,) for each real row w'Kw - 2 w'k(., z) of the weights learnt without its fold."""
    square = np.einsum("mc,mc->c", w, _Weighed(own).times(w))
    towards = w.T @ cross
    return square[fold] - 2.0 * towards[fold, np.arange(len(fold))]


def _rbf(x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    # Single precision is enough for the values and takes half the time; their sums are not left to it.
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    squares = x @ y.T
    squares *= -2.0
    squares += np.sum(x**2, axis=1)[:, None]
    squares += np.sum(y**2, axis=1)[None]
    np.maximum(squares, 0.0, out=squares)
    squares *= -1.0 / (2.0 * scale**2)
    return np.exp(squares, out=squares).astype(np.float64)
