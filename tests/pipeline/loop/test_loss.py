"""The loss of students on real rows that they have not seen, against scikit-learn, and what it promises."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from synalign_jax.mixing.judge import PENALTIES
from synalign_jax.pipeline.loop.loss import StudentLoss
from synalign_jax.pipeline.loop.weights import Weigher


def _data(rng: np.random.Generator, n: int, flip: float = 0.0) -> tuple[np.ndarray, list[str]]:
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x[:, 0] += 2.0 * y
    said = np.where(rng.random(n) < flip, 1 - y, y)
    return x, ["ab"[i] for i in said]


def _made(weigher: Weigher, student: StudentLoss, x: np.ndarray, labels: list[str]) -> float:
    picture = weigher.picture(x, labels)
    assert picture is not None
    loss = student(x, labels, picture)
    assert loss is not None
    return loss


def test_alone_it_is_that_of_a_general_solver() -> None:
    real, labels = _data(np.random.default_rng(0), 40)
    weigher = Weigher(real, labels, 2.0, 0)
    student = StudentLoss(real, labels, weigher, 20)
    scaled = real - real.mean(axis=0)
    scaled /= np.sqrt(np.square(scaled).sum(axis=1).mean())
    losses = []
    for penalty in PENALTIES:
        loss = 0.0
        for fold in range(5):
            seen = weigher.fold == fold
            # Two coefficients u / sqrt(2) and -u / sqrt(2) are one of sqrt(2) u in the binary form.
            general = LogisticRegression(C=2.0 / penalty, tol=1e-8, max_iter=1000)
            general.fit(scaled[~seen], np.array(labels)[~seen])
            shares = general.predict_proba(scaled[seen])
            loss -= np.log(
                shares[np.arange(seen.sum()), [("ab").index(labels[i]) for i in np.flatnonzero(seen)]]
            ).sum()
        losses.append(loss / len(real))
    assert student.alone == pytest.approx(min(losses), rel=0.01)


def test_good_rows_lower_it_and_wrong_labels_raise_it() -> None:
    rng = np.random.default_rng(1)
    real, labels = _data(rng, 30)
    weigher = Weigher(real, labels, 2.0, 0)
    student = StudentLoss(real, labels, weigher, 30)
    assert student.alone is not None
    good, bad = _data(rng, 30), _data(rng, 30, flip=1.0)
    assert _made(weigher, student, *good) < student.alone < _made(weigher, student, *bad)


def test_without_labels_or_with_too_few_rows_there_is_none() -> None:
    real, _ = _data(np.random.default_rng(2), 24)
    assert StudentLoss(real, ["a"] * 24, Weigher(real, ["a"] * 24, 2.0, 0), 10).alone is None
    few = ["b"] * 4 + ["a"] * 20
    assert StudentLoss(real, few, Weigher(real, few, 2.0, 0), 10).alone is None
