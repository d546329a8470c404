import json

import jax
import numpy as np
import pytest
import sklearn.metrics

import synalign_jax as sa
from synalign_jax.core.checks import InputError
from synalign_jax.evaluation.metrics import TrainingSet, compare_training_sets

KEY = jax.random.key(0)


def _rows(seed: int, rows: int, shift: float = 0.0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    x = rng.normal(size=(rows, 6)) + np.where(labels, 1, -1)[:, None] * np.eye(6)[0] + shift * np.eye(6)[1]
    return x.astype(np.float32), ["yes" if y else "no" for y in labels]


REAL, POOL, TEST = _rows(0, 80), _rows(1, 120, shift=2.0), _rows(2, 150)
LABELS = {"real_labels": REAL[1], "pool_labels": POOL[1]}
TESTS = {"test": TEST[0], "test_labels": TEST[1]}


@pytest.fixture(scope="module")
def found() -> sa.Evaluation:
    rng = np.random.default_rng(3)
    texts = {f"{n}_texts": [f"{n} {i} " + " ".join(rng.choice(list("abcdefgh"), 6)) for i in range(rows)]
             for n, rows in (("real", 80), ("pool", 120), ("test", 150))}  # fmt: skip
    shares = np.where(POOL[0][:, 1] < 1.5, 1.0, 0.1)
    return sa.evaluate(
        REAL[0], POOL[0], key=KEY, weights=shares / shares.sum(), seeds=2, splits=2, students=["linear"],
        attributes={"source": (["a"] * 80, ["a"] * 30 + ["b"] * 90)}, **LABELS, **TESTS, **texts,
    )  # fmt: skip


def test_a_shifted_pool_is_told_from_real_rows_and_weights_bring_it_nearer(found: sa.Evaluation) -> None:
    assert found.distances is not None
    assert found.distances.p_value < 0.01
    assert found.distances.pool > found.distances.band[1]
    assert found.distances.weighted is not None
    by_name = {m.name: m for m in found.measures}
    apart = by_name["told apart by a classifier"]
    assert apart.pool.value > 0.75 > apart.real.value
    fid = by_name["Fréchet distance (FID)"]
    assert fid.weighted is not None
    assert fid.real.value < fid.weighted.value < fid.pool.value
    assert {"self-BLEU", "distinct words", "Vendi score", "MAUVE", "coverage"} <= set(by_name)


def test_students_are_scored_class_by_class(found: sa.Evaluation) -> None:
    comparison = found.students["linear"]
    assert [s.name for s in comparison.scores] == [
        "real", "pool", "real + pool", "pool, weighted", "real + pool, weighted",
    ]  # fmt: skip
    for score in comparison.scores:
        assert [c.label for c in score.classes] == ["no", "yes"]
        assert sum(c.test_rows for c in score.classes) == 150
        assert score.macro_f1.value == pytest.approx(np.mean([c.f1.value for c in score.classes]), abs=1e-6)
        hits = sum(c.recall.value * c.test_rows for c in score.classes)
        assert score.accuracy.value == pytest.approx(hits / 150, abs=1e-6)
        for c in score.classes:
            assert c.f1.lower <= c.f1.value <= c.f1.upper
            assert c.recall.lower < c.recall.value < c.recall.upper


def test_the_table_and_the_json_say_the_same(found: sa.Evaluation) -> None:
    plain = json.loads(found.to_json())
    table = repr(found)
    assert plain["real_rows"] == 80
    for words in ("80 real rows, a pool of 120", "linear student on 150 test rows", "MMD² to 150 test rows"):
        assert words in table
    assert f"{plain['students']['linear']['scores'][0]['accuracy']['value']:.3f}" in table
    assert [(s["value"], s["pool"]) for s in plain["shares"] if s["attribute"] == "source"] == [
        ("a", 0.25), ("b", 0.75),
    ]  # fmt: skip


def test_without_test_rows_a_third_of_the_real_rows_is_set_aside() -> None:
    found = sa.evaluate(REAL[0], POOL[0], key=KEY, seeds=2, splits=1, students=["linear"], **LABELS)
    assert found.students["linear"].test_rows == sum(REAL[1].count(y) // 3 for y in ("no", "yes"))
    assert found.students["linear"].scores[0].rows == 80 - found.students["linear"].test_rows
    assert any("were set aside" in note for note in found.notes)


def test_ten_real_rows_say_what_they_can() -> None:
    found = sa.evaluate(
        REAL[0][:10], POOL[0], key=KEY, splits=1, real_labels=REAL[1][:10], pool_labels=POOL[1]
    )
    assert not found.students
    assert any("too few to test on" in note for note in found.notes)
    assert found.distances is not None
    assert found.measures


def test_labels_that_the_real_rows_lack_are_noted() -> None:
    labels = ["maybe"] * 7 + POOL[1][7:]
    found = sa.evaluate(
        REAL[0], POOL[0], key=KEY, real_labels=REAL[1], pool_labels=labels, splits=1, students=["linear"],
        seeds=2, **TESTS,
    )  # fmt: skip
    assert "7 pool rows have labels that no real row has ('maybe')" in found.notes
    assert found.students["linear"].classes == ("maybe", "no", "yes")


def test_test_rows_that_are_training_rows_are_refused_or_dropped() -> None:
    test = np.concatenate([TEST[0], REAL[0][4:6], POOL[0][9:10]])
    arguments = {
        "key": KEY, "test": test, "test_labels": [*TEST[1], *REAL[1][4:6], POOL[1][9]], "splits": 1,
        "seeds": 2, "students": ["linear"], **LABELS,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"test: row 150 is row 4 of the real rows, too \(2 such\)"):
        sa.evaluate(REAL[0], POOL[0], **arguments)
    found = sa.evaluate(REAL[0], POOL[0], overlapping="drop", **arguments)
    assert [s.rows for s in found.students["linear"].scores] == [78, 119, 197]


def test_texts_say_what_overlaps_where_vectors_do_not() -> None:
    texts = {f"{n}_texts": [f"{n} row {i}" for i in range(rows)] for n, rows in (("real", 80), ("pool", 120))}
    test_texts = [f"test row {i}" for i in range(149)] + ["Pool -- ROW 17!"]
    with pytest.raises(InputError, match="test: row 149 is row 17 of the pool rows"):
        sa.evaluate(REAL[0], POOL[0], key=KEY, test_texts=test_texts, **LABELS, **TESTS, **texts)


def test_a_student_that_diverges_names_its_set() -> None:
    x, y = REAL
    weights = np.ones(80)
    wild = np.concatenate([x, np.full((1, 6), 1e30, np.float32)])
    with pytest.raises(InputError, match="wild: a student diverged"):
        compare_training_sets(
            {"fine": (x, y), "wild": TrainingSet(wild, [*y, "no"], [*weights, 1.0])}, *TEST, key=KEY, seeds=2
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pool": POOL[0][:1], "pool_labels": ["no"]}, "pool: 1 row"),
        ({"weights": np.zeros(120)}, "weights: all are 0, so nothing of the pool is used"),
        ({"weights": np.ones(7)}, "weights: expected shape"),
        ({"weights": np.where(np.arange(120) == 3, -1.0, 1.0)}, "weights: row 3 is -1"),
        ({"test": TEST[0], "test_labels": ["no"] * 150}, "test_labels: all rows are 'no'"),
        ({"test": TEST[0]}, "test_labels: missing"),
        ({"test_labels": TEST[1]}, "given without test"),
        ({"test": TEST[0][:, :3], "test_labels": TEST[1]}, "test: rows are 3 wide"),
        ({"pool_labels": None}, "labels: given for one side only"),
        ({"real_labels": REAL[1][:5]}, "real_labels: 5 labels for 80 rows"),
        ({"real_texts": ["x"]}, "real_texts: 1 texts for 80 rows"),
        ({"students": ["forest"]}, "students: 'forest'"),
        ({"students": ["encoder"]}, "'encoder' needs encoder="),
        ({"overlapping": "keep"}, "overlapping: 'keep'"),
    ],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    arguments = {"real": REAL[0], "pool": POOL[0], "key": KEY, **LABELS, **change}
    with pytest.raises(InputError, match=words):
        sa.evaluate(**arguments)


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    (x, y), (test, truth) = _rows(5, 60), _rows(6, 90)
    (score,) = compare_training_sets({"a": (x, y)}, test, truth, key=KEY, seeds=2).scores
    f1 = np.array([c.f1.value for c in score.classes])
    recall = np.array([c.recall.value for c in score.classes])
    # Counts follow from recalls, and F1 from counts.
    totals = np.array([c.test_rows for c in score.classes])
    right = np.round(recall * totals).astype(int)
    counts = [right[0], totals[0] - right[0], totals[1] - right[1], right[1]]
    predicted = np.repeat(["no", "yes", "no", "yes"], counts)
    expected = sklearn.metrics.f1_score(np.repeat(["no", "yes"], totals), predicted, average=None)
    np.testing.assert_allclose(f1, expected, rtol=1e-5)
