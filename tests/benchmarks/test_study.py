"""The study's own tools: a table is worth what these are."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.study import baselines
from benchmarks.study.cells import Records, bits
from benchmarks.study.spoil import SPOILS, Pool
from benchmarks.study.statistics import Results, summarised
from benchmarks.study.students import Train, predict


def _rows(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    x = rng.normal(size=(rows, 5)) + 3 * np.where(labels, 1, -1)[:, None] * np.eye(5)[0]
    return x.astype(np.float32), np.array(["no", "yes"])[labels]


def _pool() -> Pool:
    x, y = _rows(1, 200)
    return Pool("pool", x, [f"{'word ' * (1 + i % 7)}{i}" for i in range(200)], y)


def test_wrong_labels_lose_weight_by_every_baseline_that_looks_at_labels() -> None:
    (real, of_real), pool = _rows(0, 40), _pool()
    labels = pool.labels.copy()
    wrong = np.arange(200) % 4 == 0
    labels[wrong] = np.where(labels[wrong] == "no", "yes", "no")
    for weights in (
        baselines.confidence(real, of_real, pool.vectors, labels),
        baselines.dimp(real, of_real, pool.vectors, labels, 0),
        baselines.self_weighted(pool.vectors, labels, 0),
    ):
        assert weights.shape == (200,)
        assert (weights >= 0).all()
        assert weights[wrong].mean() < 0.5 * weights[~wrong].mean()


def test_rows_like_the_real_ones_gain_weight_by_every_baseline_that_looks_at_them() -> None:
    (real, _), pool = _rows(0, 60), _pool()
    far = np.arange(200) % 2 == 0
    vectors = pool.vectors + np.where(far, 8.0, 0.0)[:, None] * np.eye(5, dtype=np.float32)[1]
    for weights in (
        baselines.classifier_ratio(real, vectors, 0),
        baselines.nearest(real + 10, vectors + 10),
    ):
        assert weights[far].mean() < 0.5 * weights[~far].mean()
    texts = ["the quick brown fox jumps" if f else "a film with a fine plot" for f in far]
    kept = baselines.dsir(["a film with a plot", "a fine film"], texts, 0)
    assert kept.sum() == 100
    assert kept[~far].mean() > 0.9


def test_ngrams_are_hashed_into_buckets() -> None:
    counts = baselines.ngram_counts(["One two, one", ""])
    # one, two, ",", one and three pairs of neighbours.
    np.testing.assert_array_equal(counts.sum(axis=1), [7, 0])
    assert counts.max() == 2


def test_dsir_is_its_authors_ratio() -> None:
    package = pytest.importorskip("data_selection.hashed_ngram_dsir")
    texts = ["a b a", "c d"]
    theirs = np.stack([package.get_ngram_counts(t, n=2, num_buckets=10_000) for t in texts])
    ours = baselines.ngram_counts(texts)
    # The hashes differ, what falls into them does not.
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.sort(mine[mine > 0]), np.sort(other[other > 0]))


@pytest.mark.parametrize("kind", SPOILS)
def test_a_spoilt_pool_is_spoilt_as_its_name_says(kind: str) -> None:
    pool, rng = _pool(), np.random.default_rng(0)
    found = SPOILS[kind](pool, _pool(), rng)
    assert len(found.labels) == len(found.vectors) == len(found.texts) > 20
    if "flipped" in kind:
        share = np.mean(found.labels != pool.labels)
        assert share == pytest.approx(int(kind.split()[0]) / 100)
    if kind == "near-copies":
        assert len(set(found.texts)) == 10
    if kind == "short rows":
        assert max(len(t.split()) for t in found.texts) <= 3


@pytest.mark.parametrize("student", ["linear", "mlp"])
def test_students_learn_from_weighted_rows(student: str) -> None:
    (x, y), (test, truth) = _rows(2, 120), _rows(3, 300)
    wrong = np.where(y == "no", "yes", "no")
    train = Train(np.concatenate([x, x]), [], np.concatenate([y, wrong]), np.repeat([1.0, 0.01], 120))
    assert np.mean(predict(student, train, test, [], 0) == truth) > 0.97
    one = Train(x, [], np.full(120, "no"), np.ones(120))
    assert set(predict(student, one, test, [], 0)) == {"no"}


def test_a_file_that_was_cut_off_goes_on_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    row = {"part": "p", "task": "t", "pool": "a", "size": 32, "seed": 0, "arm": "real", "student": "linear"}
    records = Records(path)
    records.add(row)
    records.add({**row, "seed": 1})
    path.write_bytes(path.read_bytes()[:-9])
    again = Records(path)
    assert row in again
    assert {**row, "seed": 1} not in again
    again.add({**row, "seed": 1})
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [0, 1]


def test_differences_are_paired_by_seed_and_row() -> None:
    rng = np.random.default_rng(0)
    hits = {arm: rng.random((3, 50)) < share for arm, share in (("a", 0.9), ("b", 0.4))}
    rows = [
        {
            "part": "p", "task": "t", "pool": "x", "size": 32, "student": "linear", "arm": arm, "seed": seed,
            "accuracy": float(right.mean()), "right": np.packbits(right).tobytes().hex(), "test_rows": 50,
        }
        for arm, own in hits.items()
        for seed, right in enumerate(own)
        if (arm, seed) != ("b", 2)
    ]  # fmt: skip
    np.testing.assert_array_equal(bits(rows[0]), hits["a"][0])
    found = Results(rows)
    (cell,) = found.cells("p", "a", "b")
    assert found.seeds(cell, "a", "b") == [0, 1]
    difference = found.difference(cell, "a", "b")
    assert difference.points == pytest.approx(100 * (hits["a"][:2].mean() - hits["b"][:2].mean()))
    assert difference.better
    assert not difference.worse


def test_the_z_value_is_standard_normal_where_nothing_differs() -> None:
    rng = np.random.default_rng(1)
    values = []
    for _ in range(400):
        of_seed, of_row = rng.normal(scale=0.01, size=(8, 1)), rng.normal(scale=0.2, size=(1, 200))
        values.append(summarised(of_seed + of_row + rng.normal(scale=0.1, size=(8, 200))).z)
    # Slightly cautious: the noise of single hits is counted in both variances.
    assert 0.8 < np.std(values) < 1.15
