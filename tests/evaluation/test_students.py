import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import predict, students, train_student
from synalign_jax.evaluation.students import choose_penalty, labelled_rows

KEY = jax.random.key(0)


def _three_classes(rows: int = 200, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    return x, (x[:, 0] + 0.5 * rng.normal(size=rows) > 0).astype(int) + (x[:, 1] > 0.8)


def test_the_linear_student_reaches_the_optimum_that_scikit_learn_finds() -> None:
    x, y = _three_classes()
    weights = np.random.default_rng(1).uniform(0.2, 3.0, len(y))
    student = train_student(x, y, key=KEY, classes=3, weights=weights, penalty=1e-2)

    share = weights / weights.sum()
    center = share @ x
    scaled = (x - center) / np.sqrt(share @ np.square(x - center).sum(axis=1))
    reference = LogisticRegression(C=1 / 1e-2, tol=1e-8, max_iter=5_000).fit(scaled, y, sample_weight=share)
    ours = np.asarray(jax.nn.softmax(student(jax.numpy.asarray(x))))
    np.testing.assert_allclose(ours, reference.predict_proba(scaled), atol=2e-3)


def test_copies_of_a_row_count_as_its_weight() -> None:
    x, y = _three_classes(60)
    repeats = np.random.default_rng(2).integers(1, 4, 60)
    copied = labelled_rows(np.repeat(x, repeats, axis=0), np.repeat(y, repeats), None, 3)
    weighted = labelled_rows(x, y, repeats, 3)
    for a, b in zip(copied, weighted, strict=True):
        np.testing.assert_array_equal(a, b)
    # The same text under two labels is not a copy.
    assert len(labelled_rows(x[[0, 0]], np.array([0, 1]), None, 2).labels) == 2


def test_moving_and_stretching_the_space_changes_no_prediction() -> None:
    x, y = _three_classes()
    plain = train_student(x, y, key=KEY, classes=3)
    moved = train_student(50 * x + 7, y, key=KEY, classes=3)
    assert np.mean(predict(plain, x) == predict(moved, 50 * x + 7)) > 0.99


def test_noise_is_penalised_harder_than_signal() -> None:
    x, y = _three_classes(400)
    noise = np.random.default_rng(3).integers(0, 3, 400)
    choose = lambda labels: choose_penalty(  # noqa: E731
        labelled_rows(x, labels, None, 3), key=KEY, classes=3, head="linear"
    )
    assert choose(noise) >= 10 * choose(y)


def test_the_penalty_is_chosen_even_when_one_row_holds_all_the_weight() -> None:
    x, y = _three_classes(20)
    weights = np.where(np.arange(20) == 3, 1.0, 0.0)
    assert predict(train_student(x, y, key=KEY, classes=3, weights=weights), x).tolist() == [int(y[3])] * 20


def test_only_the_mlp_learns_what_no_plane_separates() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    scores = {
        head: np.mean(predict(train_student(x, y, key=KEY, classes=2, head=head, penalty=1e-4), x) == y)
        for head in ("linear", "mlp")
    }
    assert scores["linear"] < 0.75
    assert scores["mlp"] > 0.95


def test_sets_of_about_one_size_share_a_compilation() -> None:
    x, y = _three_classes(250)
    train_student(x, y, key=KEY, classes=3, penalty=1e-3)
    compiled = students._fit._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    for rows in (240, 130, 31):
        train_student(x[:rows], y[:rows], key=KEY, classes=3, penalty=1e-2)
    assert students._fit._cache_size() == compiled  # pyright: ignore[reportAttributeAccessIssue]


def test_some_rows_stand_for_all_of_a_large_set() -> None:
    """Heavy rows keep their weight; sums over any part of the light ones come out without bias."""
    weights = np.concatenate([np.zeros(5), np.full(3, 50.0), np.random.default_rng(5).uniform(0, 1, 992)])
    part = np.arange(1_000) % 7 == 0
    sums = []
    for seed in range(200):
        rows, own = students.thinned(weights, 100, np.random.default_rng(seed))
        assert len(rows) == 100 == len(set(rows.tolist()))
        assert rows.min() >= 5
        np.testing.assert_array_equal(own[:3], 50.0)
        assert own.sum() == pytest.approx(weights.sum())
        sums.append(own[part[rows]].sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - weights[part].sum()) < 4 * max(error, 0.1)
    rows, own = students.thinned(weights, 995, np.random.default_rng(0))
    np.testing.assert_array_equal(own, weights[5:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros(9, int)}, "labels: expected shape"),
        ({"labels": np.full(10, 5)}, "row 0 is 5, outside"),
        ({"labels": np.full(10, 0.5)}, "expected integers"),
        ({"weights": -np.ones(10)}, "weights: row 0 is -1"),
        ({"embeddings": np.full((10, 2), np.nan, np.float32)}, "row 0, column 0"),
        ({"penalty": 0.0}, "penalty: 0.0"),
        ({"head": "forest"}, "choose 'linear' or 'mlp'"),
    ],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    good = {"embeddings": np.eye(10, 2, dtype=np.float32), "labels": np.arange(10) % 2}
    arguments = {**good, "key": KEY, "classes": 2, "penalty": 1e-3, **change}
    with pytest.raises(InputError, match=words):
        train_student(arguments.pop("embeddings"), arguments.pop("labels"), **arguments)
