from typing import Any

import jax
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation import (
    TrainingSet,
    accuracy,
    compare_training_sets,
    macro_f1,
    metrics,
    wilson_interval,
)
from synalign_jax.evaluation.metrics import _halves, _training_spread
from synalign_jax.evaluation.scores import score_counts

KEY = jax.random.key(0)
_pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


def _rows(rng: np.random.Generator, rows: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 2, rows)
    x = noise * rng.normal(size=(rows, 8)) + np.where(labels, 1, -1)[:, None] * np.eye(8)[0]
    return x.astype(np.float32), np.array(["no", "yes"])[labels]


@given(_pairs)
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    assert accuracy(truth, predicted) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    expected = sklearn.metrics.f1_score(truth, predicted, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    assert macro_f1(truth, predicted) == pytest.approx(expected, abs=1e-6)


def test_counts_of_a_resample_are_sample_weights() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    counts = rng.integers(0, 4, (5, 50)).astype(np.float32)
    for ours, weights in zip(score_counts(truth, predicted, counts, 3)[:2].T, counts, strict=True):
        expected = [
            sklearn.metrics.accuracy_score(truth, predicted, sample_weight=weights),
            sklearn.metrics.f1_score(truth, predicted, average="macro", sample_weight=weights),
        ]
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_counts_of_several_labels_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = (rng.random((60, 4)) < share for share in (0.4, 0.6))
    counts = rng.integers(0, 4, (5, 60)).astype(np.float32)
    for ours, weights in zip(score_counts(truth, predicted, counts, 4).T, counts, strict=True):
        given: dict = {"y_true": truth, "y_pred": predicted, "sample_weight": weights}
        scores: Any = sklearn.metrics
        expected = [
            np.average((truth == predicted).mean(axis=1), weights=weights),
            scores.f1_score(**given, average="macro"),
            *scores.f1_score(**given, average=None),
            *scores.recall_score(**given, average=None),
            scores.f1_score(**given, average="micro"),
        ]
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def _several(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Each of three labels by a column of its own, hidden in noise."""
    has = rng.random((rows, 3)) < (0.5, 0.3, 0.2)
    x = rng.normal(size=(rows, 8))
    x[:, :3] += np.where(has, 1.0, -1.0)
    return x.astype(np.float32), [tuple(n for n, one in zip("abc", row, strict=True) if one) for row in has]


def test_students_of_several_labels_are_as_good_as_one_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    (x, labels), (test, truth) = _several(rng, 300), _several(rng, 400)
    found = compare_training_sets(
        {"few": (x[:40], labels[:40]), "all": (x, labels)}, test, truth, key=KEY, seeds=8
    )
    assert found.classes == ("a", "b", "c")
    binarizer = MultiLabelBinarizer()
    of_test: Any
    y, of_test = binarizer.fit_transform(labels), binarizer.transform(truth)
    theirs: Any = OneVsRestClassifier(LogisticRegression(C=1.0)).fit(x, y).predict(test)
    few, score = found.scores
    for average, own in (("micro", score.micro_f1), ("macro", score.macro_f1)):
        assert own is not None
        assert own.value == pytest.approx(
            sklearn.metrics.f1_score(of_test, theirs, average=average),  # pyright: ignore[reportArgumentType]
            abs=0.03,
        )
        assert own.lower < own.value < own.upper < own.lower + 0.2
    assert score.accuracy.value == pytest.approx((of_test == theirs).mean(), abs=0.02)
    by_label: Any = sklearn.metrics.f1_score(of_test, theirs, average=None)  # pyright: ignore[reportArgumentType]
    assert [one.test_rows for one in score.classes] == of_test.sum(axis=0).tolist()
    assert [one.f1.value for one in score.classes] == pytest.approx(list(by_label), abs=0.06)
    assert few.micro_f1 is not None
    assert score.micro_f1 is not None
    assert few.micro_f1.value < score.micro_f1.value
    # Copies are weight, and a set's order is none.
    doubled = [list(reversed(row)) for row in labels] * 2
    again = compare_training_sets({"twice": (np.tile(x, (2, 1)), doubled)}, test, truth, key=KEY, seeds=2)
    whole = compare_training_sets({"once": (x, labels)}, test, truth, key=KEY, seeds=2)
    assert again.scores[0].macro_f1.value == pytest.approx(whole.scores[0].macro_f1.value, abs=0.01)


def test_sets_of_labels_that_do_not_fit_are_named() -> None:
    x, labels = _several(np.random.default_rng(0), 12)
    with pytest.raises(InputError, match="few labels: expected a tuple of labels for each of 12 rows"):
        compare_training_sets({"few": (x, labels[:9])}, x, labels, key=KEY)
    with pytest.raises(InputError, match="few labels: expected a tuple"):
        compare_training_sets({"few": (x, ["a"] * 12)}, x, labels, key=KEY)
    with pytest.raises(InputError, match="no row has any"):
        compare_training_sets({"few": (x, [()] * 12)}, x, [()] * 12, key=KEY)


@pytest.mark.parametrize(("right", "rows"), [(0, 10), (7, 10), (10, 10), (930, 1_000)])
def test_the_wilson_interval_is_that_of_scipy(right: int, rows: int) -> None:
    expected = binomtest(right, rows).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(right / rows, rows), (expected.low, expected.high), atol=1e-9)


def test_halves_are_complements_and_stratified() -> None:
    labels = np.repeat([0, 1, 2], [40, 11, 1])
    halves = _halves(KEY, labels, 30)
    np.testing.assert_array_equal(halves[::2] + halves[1::2], 1)
    for label, size in ((0, 40), (1, 11), (2, 1)):
        assert (np.abs(halves[:, labels == label].sum(axis=1) - size / 2) <= 0.5).all()
    assert len(np.unique(halves, axis=0)) == 60


def test_the_training_spread_is_free_of_the_test_rows_own_chance() -> None:
    # Students whose hits are independent coins differ on the test rows, and yet none is better; students
    # of true accuracy 0.7 + N(0, 0.05) differ by that 0.05.
    rng = np.random.default_rng(8)
    counts = rng.multinomial(400, np.full(400, 1 / 400), 500)

    def spread(accuracies: np.ndarray) -> float:
        hits = rng.random((len(accuracies), 400)) < accuracies[:, None]
        resampled = (hits @ counts.T) / 400
        return float(_training_spread(np.stack([resampled, resampled], axis=1))[0])

    assert spread(np.full(800, 0.7)) < 0.012
    assert spread(0.7 + 0.05 * rng.normal(size=800)) == pytest.approx(0.05, rel=0.15)


def test_cleaner_rows_score_higher_and_the_gain_is_against_the_baseline() -> None:
    rng = np.random.default_rng(2)
    test_x, test_y = _rows(rng, 600)
    clean_x, clean_y = _rows(rng, 200)
    noisy_x, noisy_y = _rows(rng, 200)
    flipped = np.where(rng.random(200) < 0.45, np.where(noisy_y == "no", "yes", "no"), noisy_y)
    result = compare_training_sets(
        {"noisy": (noisy_x, flipped), "clean": TrainingSet(clean_x, clean_y, np.ones(200))},
        test_x,
        test_y,
        key=KEY,
        seeds=8,
    )
    noisy, clean = result.scores
    assert result.classes == ("no", "yes")
    assert result.baseline == "noisy"
    assert noisy.gain is None
    assert clean.gain is not None
    assert clean.gain.value == pytest.approx(clean.accuracy.value - noisy.accuracy.value)
    assert clean.gain.lower > 0
    # Bayes' rule reaches Phi(1) = 0.841.
    assert clean.accuracy.lower < 0.841 < clean.accuracy.upper + 0.02
    for score in result.scores:
        for estimate in (score.accuracy, score.macro_f1):
            assert estimate.lower < estimate.value < estimate.upper
        # The training rows add to what the test rows alone leave uncertain.
        low, high = wilson_interval(score.accuracy.value, 600)
        assert score.accuracy.lower < low
        assert score.accuracy.upper > high


def test_the_same_key_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(3)
    train, test = _rows(rng, 60), _rows(rng, 50)
    first, second = (compare_training_sets({"a": train}, *test, key=KEY, seeds=4) for _ in range(2))
    assert first == second


def test_a_perfect_score_still_has_an_interval() -> None:
    rng = np.random.default_rng(4)
    train, test = _rows(rng, 100, noise=0.05), _rows(rng, 40, noise=0.05)
    (score,) = compare_training_sets({"a": train}, *test, key=KEY, seeds=4).scores
    assert score.accuracy.value == 1.0
    assert score.accuracy.upper == 1.0
    assert score.accuracy.lower == pytest.approx(wilson_interval(1.0, 40)[0])


def test_a_class_that_the_training_rows_lack_counts_as_wrong() -> None:
    rng = np.random.default_rng(5)
    train, (x, y) = _rows(rng, 100, noise=0.05), _rows(rng, 80, noise=0.05)
    y = np.where(np.arange(80) < 20, "maybe", y)
    (score,) = compare_training_sets({"a": train}, x, y, key=KEY, seeds=4).scores
    assert score.accuracy.value == pytest.approx(60 / 80)


def test_weights_choose_between_two_kinds_of_rows() -> None:
    rng = np.random.default_rng(6)
    (good_x, good_y), (bad_x, bad_y), test = _rows(rng, 100), _rows(rng, 100), _rows(rng, 300)
    x, y = np.concatenate([good_x, bad_x]), np.concatenate([good_y, np.where(bad_y == "no", "yes", "no")])
    weights = np.repeat([1.0, 0.0], 100)
    result = compare_training_sets({"w": (x, y, weights), "good": (good_x, good_y)}, *test, key=KEY, seeds=4)
    weighted, good = result.scores
    assert weighted.rows == 200
    assert weighted.effective_rows == pytest.approx(100)
    assert weighted.accuracy.value == pytest.approx(good.accuracy.value, abs=0.03)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sets": {}}, "sets: empty"),
        ({"baseline": "b"}, "baseline: 'b'"),
        ({"seeds": 1}, "seeds: 1"),
        ({"confidence": 95.0}, "confidence: 95"),
        ({"test_labels": np.arange(10)}, "make them the same kind"),
        ({"test_labels": np.array(["x"] * 9)}, "test labels: expected shape"),
        ({"test_embeddings": np.ones((10, 3), np.float32)}, "a embeddings: rows are 2 wide"),
        ({"sets": {"a": (np.eye(10, 2), ["x"] * 10)}, "test_labels": ["x"] * 10}, "at least two"),
    ],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    x, y = np.eye(10, 2, dtype=np.float32), ["x", "y"] * 5
    arguments = {"sets": {"a": (x, y)}, "test_embeddings": x, "test_labels": y, "key": KEY, **change}
    positional = [arguments.pop(name) for name in ("sets", "test_embeddings", "test_labels")]
    with pytest.raises(InputError, match=words):
        compare_training_sets(*positional, **arguments)


@pytest.mark.slow
def test_intervals_cover_the_mean_over_draws_of_both_kinds_of_rows() -> None:
    rng = np.random.default_rng(7)
    big_x, big_y = _rows(rng, 20_000)
    scores, truths = [], []
    for draw in range(60):
        train, test = _rows(rng, 60), _rows(rng, 200)
        scores.append(
            compare_training_sets({"a": train}, *test, key=jax.random.key(draw), seeds=16).scores[0]
        )
        (truth,) = compare_training_sets({"a": train}, big_x, big_y, key=jax.random.key(draw), seeds=2).scores
        truths.append(truth.accuracy.value)
    covered = [s.accuracy.lower <= np.mean(truths) <= s.accuracy.upper for s in scores]
    # 95 % of 60 is 57; below 52 has probability 0.2 %.
    assert sum(covered) >= 52


def test_students_of_a_large_set_see_some_of_its_rows(monkeypatch) -> None:
    """200 real rows of weight 1 beside many light ones of the other law: the real ones are not lost."""
    rng = np.random.default_rng(7)

    def rows(count: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count) % 2
        return (rng.normal(size=(count, 4)) + sign * 1.5 * (2 * y - 1)[:, None]).astype(np.float32), y

    (real, real_y), (made, made_y), test = rows(200, 1.0), rows(3_000, -1.0), rows(400, 1.0)
    x, y = np.concatenate([real, made]), np.concatenate([real_y, made_y])
    weights = np.concatenate([np.ones(200), np.full(3_000, 0.005)])
    monkeypatch.setattr(metrics, "MOST_ROWS", 256)
    (score,) = compare_training_sets({"a": (x, y, weights)}, *test, key=KEY, seeds=4).scores
    assert score.rows == 3_200
    assert score.effective_rows == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert score.accuracy.value > 0.95
