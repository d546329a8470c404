"""The batched students against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from synalign_jax.mixing.logistic import contrasts, fit, log_probabilities


@pytest.mark.parametrize("classes", [2, 4])
def test_every_student_is_the_one_that_scikit_learn_finds(classes: int) -> None:
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(150, 6)).astype("f4") / 6**0.5
    labels = (np.abs(x @ rng.normal(size=(6, classes))).argmax(axis=1)).astype("i4")
    weights = rng.gamma(0.5, size=(5, 150)) * (rng.random((5, 150)) < 0.8)
    weights[:, :classes], labels[:classes] = 1.0, np.arange(classes)
    penalties = np.array([0.1, 0.3, 1.0, 7.0, 30.0])
    found = np.exp(log_probabilities(fit(x, labels, weights, penalties, classes=classes), x))
    for student, row, penalty in zip(found, weights, penalties, strict=True):
        # Two classes: its one coefficient vector is the difference of the two here, penalised half as much.
        theirs = LogisticRegression(C=(2.0 if classes == 2 else 1.0) / penalty, tol=1e-8, max_iter=5_000)
        theirs.fit(x, labels, sample_weight=row)
        np.testing.assert_allclose(student, theirs.predict_proba(x), atol=3e-3)


def test_contrasts_are_orthonormal_and_sum_to_nothing() -> None:
    basis = contrasts(5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=0), 0.0, atol=1e-12)


def test_a_row_without_weight_and_a_student_without_neighbours_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype("f4")
    labels = (x[:, 0] > 0).astype("i4")
    weights = np.ones((3, 60))
    weights[1:, 40:] = 0.0
    together = fit(x, labels, weights, np.ones(3), classes=2)
    alone = fit(x[:40], labels[:40], weights[1:2, :40], np.ones(1), classes=2)
    chances = [np.exp(log_probabilities(u, x)) for u in (together[1:2], alone)]
    np.testing.assert_allclose(*chances, atol=3e-3)
