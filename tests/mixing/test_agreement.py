"""What students of other rows say of a pool's labels, worked out again with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from synalign_jax.mixing.agreement import PENALTIES, Agreement, say_nothing, with_real, within
from synalign_jax.mixing.task import PARTS, Task, build_task

ALL = np.ones((1, 400), bool)


def _task(wrong: float = 0.0, flip: int | None = None, classes: int = 2) -> tuple[Task, np.ndarray]:
    """A task whose pool has so large a share of wrong labels, and which these are."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, 6))
    truth = rng.integers(0, classes, 440)
    truth[: 2 * classes] = np.tile(np.arange(classes), 2)
    x = (centres[truth] + 0.8 * rng.normal(size=(440, 6))).astype("f4")
    labels = truth.copy()
    bad = np.flatnonzero(rng.random(440) < wrong)
    bad = bad[bad >= 40]
    labels[bad] = (labels[bad] + 1) % classes
    if flip is not None:
        labels[40 + flip] = (labels[40 + flip] + 1) % classes
    task = build_task(x[:40], labels[:40], x[40:], labels[40:], most=400, rng=rng)
    return task, np.isin(np.arange(40, 440), bad)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_chances_are_those_of_scikit_learn(classes: int) -> None:
    task, _ = _task(wrong=0.2, classes=classes)
    found = within(task, ALL)
    z = task.scale(task.rows)
    chances = np.empty((len(PENALTIES), len(task.parts), 400, classes))
    for i, deal, part in np.ndindex(len(PENALTIES), len(task.parts), PARTS):
        seen = task.parts[deal] != part
        # Of two labels scikit-learn penalises the difference, which is sqrt(2) times each.
        strength = (2.0 if classes == 2 else 1.0) / (PENALTIES[i] * seen.sum())
        student = LogisticRegression(C=strength, tol=1e-8, max_iter=5_000)
        chances[i, deal, ~seen] = student.fit(z[seen], task.row_codes[seen]).predict_proba(z[~seen])
    own = chances[..., np.arange(400), task.row_codes]
    best = int(np.argmin(-np.log(own).mean(axis=(1, 2))))
    assert found.penalty == PENALTIES[best]
    np.testing.assert_allclose(found.own[0], own[best].mean(axis=0), atol=0.02)
    votes = (chances[best].argmax(axis=-1) == task.row_codes).mean(axis=0)
    assert np.mean(np.abs(found.right[0] - votes) < 1e-6) > 0.97
    np.testing.assert_allclose(found.once[0], own[best, 0], atol=0.02)


@pytest.mark.parametrize("both", [False, True])
def test_wrong_labels_are_found_and_right_ones_kept(both: bool) -> None:
    task, bad = _task(wrong=0.3)
    found = _asked(task, both)
    assert found.right[-1][bad].mean() < 0.2
    assert found.right[-1][~bad].mean() > 0.8
    # Rows that no student has seen are judged alike.
    _, right = found.of(task.scale(task.rows), task.row_codes)
    assert np.mean((right > 0.5) == (found.right[-1] > 0.5)) > 0.95


@pytest.mark.parametrize("both", [False, True])
def test_no_student_has_seen_the_label_that_it_judges(both: bool) -> None:
    row = 7
    before, after = _asked(_task()[0], both), _asked(_task(flip=row)[0], both)
    assert before.penalty == after.penalty
    # With two labels the chance of the other is the rest, if the student is the same.
    np.testing.assert_allclose(before.own[:, row] + after.own[:, row], 1.0, atol=0.02)
    assert before.own[-1, row] > 0.8


def test_a_fold_of_real_rows_is_not_heard_where_it_is_left_out() -> None:
    task, _ = _task(wrong=0.4)
    kept, there = np.ones((2, 40)), np.ones((2, 400), bool)
    kept[0, :30] = 0.0
    turned = task._replace(codes=np.where(np.arange(40) < 30, 1 - task.codes, task.codes))
    plain, other = (with_real(each, kept, there, within(task, ALL)) for each in (task, turned))
    np.testing.assert_allclose(plain.own[0], other.own[0], atol=0.01)
    assert np.abs(plain.own[1] - other.own[1]).max() > 0.02


def test_labels_dealt_by_chance_say_nothing_and_half_of_them_right_say_something() -> None:
    task, _ = _task()
    assert not say_nothing(task, ALL[0], within(task, ALL))
    half, _ = _task(wrong=0.4)
    assert not say_nothing(half, ALL[0], within(half, ALL))
    silent = 0
    for seed in range(10):
        dealt = task._replace(row_codes=np.random.default_rng(seed).permutation(task.row_codes))
        silent += say_nothing(dealt, ALL[0], within(dealt, ALL))
    # Each with a chance of about five sixths.
    assert silent >= 6
    few = task._replace(rows=task.rows[:90], row_codes=dealt.row_codes[:90], parts=task.parts[:, :90])
    assert not say_nothing(few, ALL[0, :90], within(few, ALL[:, :90]))


def _asked(task: Task, both: bool) -> Agreement:
    pool = within(task, ALL)
    return with_real(task, np.ones((1, 40)), ALL, pool) if both else pool
