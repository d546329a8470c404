"""The table behind a choice, worked out again with scikit-learn; the choice itself on tables made by hand."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from synalign_jax.core.progress import silent
from synalign_jax.mixing.choice import before, chances
from synalign_jax.mixing.expected import expected
from synalign_jax.mixing.judge import PENALTIES, REAL_ALONE, Arm, Table, judge
from synalign_jax.mixing.task import build_task, deal


def test_the_table_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    real, pool = rng.normal(size=(36, 4)).astype("f4"), rng.normal(size=(50, 4)).astype("f4")
    labels = [(x[:, 0] + rng.normal(size=len(x)) > 0).astype(int).tolist() for x in (real, pool)]
    task = build_task(real, labels[0], pool, labels[1], most=50, rng=rng)
    folds = deal(task.codes, 4, rng)
    weights = rng.gamma(1.0, size=(5, 50))
    weights /= weights.sum(axis=1, keepdims=True)
    table = judge(task, {"some": weights}, (0.5, 2.0), folds, silent)
    assert table.arms == (REAL_ALONE, Arm("some", 0.5), Arm("some", 2.0))
    both = np.concatenate([task.scale(real), task.scale(pool)])
    codes = np.concatenate([task.codes, task.row_codes])
    for arm, losses, hits, penalty in zip(*table, strict=True):
        theirs = np.empty((len(PENALTIES), 36))
        right = np.empty((len(PENALTIES), 36), bool)
        for fold, left in enumerate(folds[:-1]):
            held = np.flatnonzero(~left)
            counted = np.concatenate([left, arm.share * 36 * weights[fold]])
            for i, strength in enumerate(PENALTIES):
                student = LogisticRegression(C=2.0 / strength, tol=1e-8, max_iter=5_000)
                kept = counted > 0
                student.fit(both[kept], codes[kept], sample_weight=counted[kept])
                logs = student.predict_log_proba(both[held])
                theirs[i, held] = -logs[np.arange(len(held)), codes[held]]
                right[i, held] = logs.argmax(axis=1) == codes[held]
        best = int(np.argmin(theirs.mean(axis=1)))
        assert penalty == PENALTIES[best]
        np.testing.assert_allclose(losses, theirs[best], atol=5e-3)
        assert np.mean(hits == right[best]) > 0.97


def test_folds_hold_every_real_row_once_with_its_share_of_each_label() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [20, 10, 5])
    folds = deal(codes, 5, rng)
    assert np.count_nonzero(~folds, axis=0).tolist() == [1] * 35
    for left in folds[:-1]:
        assert np.bincount(codes[~left], minlength=3).tolist() == [4, 2, 1]
    assert folds[-1].all()


def _table(means: list[float], n: int = 100, noise: float = 0.0) -> Table:
    rng = np.random.default_rng(0)
    shape = (len(means), n)
    losses = np.array(means)[:, None] + noise * rng.normal(size=shape) + rng.normal(size=(1, n))
    arms = (REAL_ALONE, Arm("as generated", 2.0), Arm("aligned", 2.0))
    return Table(arms, losses, np.zeros(shape, bool), (1.0,) * len(means))


EVEN = np.array([0.05, 0.475, 0.475])


def test_without_noise_the_chances_are_those_of_bayes() -> None:
    table, rng = _table([0.70, 0.68, 0.66]), np.random.default_rng(0)
    likely = EVEN * np.exp([-70.0, -68.0, -66.0])
    np.testing.assert_allclose(chances(table.losses, EVEN, rng), likely / likely.sum(), rtol=1e-6)
    ruled_out = chances(table.losses, np.array([0.0, 0.5, 0.5]), rng)
    np.testing.assert_allclose(ruled_out, [0.0, *(likely[1:] / likely[1:].sum())], rtol=1e-6)


def test_few_noisy_rows_leave_near_equals_near_equal_and_many_tell_them_apart() -> None:
    rng = np.random.default_rng(0)
    few = chances(_table([2.0, 0.50, 0.45], n=20, noise=0.5).losses, EVEN, rng)
    assert few[0] < 0.01
    assert 0.1 < few[1] < 0.9
    assert chances(_table([2.0, 0.50, 0.45], n=5_000, noise=0.5).losses, EVEN, rng)[2] > 0.95
    # The real rows alone are taken for more than a trifle only.
    assert chances(_table([0.69, 0.70, 0.71]).losses, EVEN, rng)[0] < 0.5
    assert chances(_table([0.40, 0.70, 0.71]).losses, EVEN, rng)[0] > 0.99


def test_before_anything_is_seen_doubted_rows_are_out_and_the_pool_is_in() -> None:
    names = ("as generated", "agreed", "aligned and agreed")
    arms = (REAL_ALONE, *(Arm(name, share) for name in names for share in (0.5, 2.0)))
    np.testing.assert_allclose(before(arms), [0.05, 0.0, 0.0, *[0.2375] * 4])
    np.testing.assert_allclose(before(arms, alone=False), [0.0, 0.0, 0.0, *[0.25] * 4])


def _least(losses: np.ndarray) -> np.ndarray:
    return np.eye(len(losses))[np.argmin(losses.mean(axis=1))]


def _only(table: Table, arm: int) -> Table:
    return table._replace(losses=table.losses[[0, arm]], hits=table.hits[[0, arm]])


def test_the_expected_gain_is_not_that_of_the_best_of_many() -> None:
    """Thirty mixtures worth nothing: chosen among, they look better than nothing; corrected, they do not."""
    rng = np.random.default_rng(0)
    arms = (REAL_ALONE, *(Arm(name, share) for name in ("a", "b", "c", "d", "e", "f") for share in range(5)))
    for n, seen in ((32, 40), (200, 40)):
        apparent, corrected, covered = [], [], 0
        for _ in range(seen):
            own = rng.normal(size=(len(arms), n))
            own[0] = 0.0
            losses = 0.7 + rng.normal(size=(1, n)) + 0.3 * own
            table = Table(arms, losses, losses < 0.7, (1.0,) * len(arms))
            best = int(np.argmin(losses.mean(axis=1)))
            found = expected(table, _only(table, best), _least, rng, 40)
            apparent.append(losses[0].mean() - losses[best].mean())
            corrected.append(found.loss.value)
            covered += found.loss.lower <= 0.0 <= found.loss.upper
        error = 0.3 / np.sqrt(n)
        assert np.mean(apparent) > 1.5 * error
        # The mean of 40 that scatter by about one error.
        assert abs(np.mean(corrected)) < 0.5 * error
        assert covered >= 0.85 * seen


def test_a_gain_that_is_surely_there_keeps_its_size() -> None:
    table = _table([0.9, 0.5, 0.8], n=200, noise=0.2)
    rng = np.random.default_rng(0)
    found = expected(table, _only(table, 1), lambda losses: chances(losses, EVEN, rng, draws=50), rng)
    np.testing.assert_allclose(found.loss.value, 0.4, atol=0.04)
