"""Where the next demonstrations come from, and which attribute values are drawn."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.pipeline.loop import meaning
from synalign_jax.pipeline.loop.meaning import Meanings
from synalign_jax.pipeline.loop.steer import attribute_odds, contrast, demonstrations


def test_demonstrations_come_from_where_the_witness_is_large_and_not_twice() -> None:
    real = np.concatenate(
        [np.random.default_rng(0).normal(0, 0.05, (10, 3)) + center for center in np.eye(3)]
    )
    witness = np.repeat([0.0, 0.2, 0.1], 10)
    clusters = demonstrations(real, witness, [], 2, neighbors=2, length_scale=0.3)
    assert [center // 10 for center, *_ in clusters] == [1, 2]
    assert all(set(np.array(cluster) // 10) == {cluster[0] // 10} for cluster in clusters)
    assert all(len(set(cluster)) == 3 for cluster in clusters)
    # What is in flight has been looked at.
    again = demonstrations(real, witness, [clusters[0][0]], 1, neighbors=2, length_scale=0.3)
    assert again[0][0] // 10 == 2


def test_the_posterior_variance_is_that_of_the_gaussian_process() -> None:
    """With a level witness the picks are those of maximum variance, found by inverting the matrix."""
    real = np.random.default_rng(1).normal(size=(12, 2))
    picks = [c[0] for c in demonstrations(real, np.ones(12), [3], 4, neighbors=0, length_scale=1.0)]
    K = np.exp(-((real[:, None] - real[None]) ** 2).sum(-1) / 2)
    seen = [3]
    for pick in picks:
        inverse = np.linalg.inv(K[np.ix_(seen, seen)] + 1e-6 * np.eye(len(seen)))
        variance = 1 - np.einsum("is,st,it->i", K[:, seen], inverse, K[:, seen])
        assert variance[pick] > variance.max() - 1e-4
        seen.append(pick)


def test_each_of_the_two_factors_can_be_heeded_alone() -> None:
    real = np.concatenate([np.eye(3), np.eye(3) + 0.01])
    witness = np.array([0.3, 0.2, 0.1, 0.3, 0.2, 0.1])
    settings = {"neighbors": 0, "length_scale": 0.5}
    greedy = demonstrations(real, witness, [], 6, by="witness", **settings)
    assert [cluster[0] % 3 for cluster in greedy] == [0, 0, 1, 1, 2, 2]
    level = demonstrations(real, witness, [], 3, by="variance", **settings)
    assert sorted(cluster[0] % 3 for cluster in level) == [0, 1, 2]
    assert [c[0] % 3 for c in demonstrations(real, witness, [], 3, **settings)] == [0, 1, 2]


def test_more_clusters_than_rows() -> None:
    clusters = demonstrations(np.eye(3), np.full(3, -1.0), [0, 1, 2], 5, neighbors=1, length_scale=1.0)
    assert len(clusters) == 5
    assert all(len(cluster) == 2 for cluster in clusters)


def test_values_are_drawn_by_the_weight_of_their_rows_as_far_as_that_is_no_chance() -> None:
    def asked(call: int) -> str:
        return json.dumps({"tone": "warm" if call % 2 else "icy", "subject": f"subject {call}"})

    rng = np.random.default_rng(0)
    calls = np.repeat(np.arange(40), 3)
    rows = [asked(call) for call in calls]
    odds = attribute_odds(rows, np.where(calls % 2, 2.0, 0.0) + 0.01 * rng.random(40)[calls])
    assert odds["tone", "warm"] > 1.9
    assert odds["tone", "icy"] == 0.25, "never to nothing"
    assert odds["subject", "subject 3"] == 1.0, "of a value that was asked for once nothing is known"
    # Weights of chance: the rows of a call weigh alike, so that every value's mean differs from the others.
    moved = [
        abs(attribute_odds(rows, rng.exponential(size=40)[calls])["tone", "warm"] - 1) for _ in range(200)
    ]
    assert np.mean(np.array(moved) == 0) > 0.5
    assert np.mean(moved) < 0.1


@given(
    st.lists(st.lists(st.floats(0, 5), min_size=2, max_size=6), min_size=2, max_size=5),
)
def test_what_is_predicted_of_a_value_lies_between_its_mean_and_that_of_all(
    groups: list[list[float]],
) -> None:
    rows, weights = [], []
    for value, group in enumerate(groups):
        for call, weight in enumerate(group):
            rows.append(json.dumps({"a": str(value), "b": f"{value} {call}"}))
            weights.append(weight)
    odds = attribute_odds(rows, np.array(weights))
    overall = np.mean(weights)
    for value, group in enumerate(groups):
        relative = np.clip(np.mean(group) / overall, 0.25, 4.0) if overall > 0 else 1.0
        low, high = sorted((1.0, float(relative)))
        assert low - 1e-6 <= odds["a", str(value)] <= high + 1e-6


def test_a_contrast_shows_the_extremes() -> None:
    assert contrast(np.arange(10.0)) == ([9, 8], [0, 1])
    assert contrast(np.arange(5.0)) == ([], [])


def test_rows_that_mean_the_same_are_found() -> None:
    rng = np.random.default_rng(2)
    real = rng.normal(size=(50, 32))
    meanings = Meanings(real)
    assert 0.85 <= meanings.threshold <= 0.98
    new = rng.normal(size=32)
    rows = np.stack([real[7] * 3, new, new + 0.01 * rng.normal(size=32), *rng.normal(size=(40, 32))])
    found = meanings.verdicts(rows)
    assert found[:3] == ["means what a real row means", None, "means what an earlier row means"]
    assert found[3:] == [None] * 40
    assert meanings.verdicts(rows[1:]) == ["means what an earlier row means"] * 42


def test_a_row_is_kept_where_the_one_that_it_repeats_was_dropped() -> None:
    """As one after the other: b repeats a and is dropped, and c, which is like b alone, stays."""
    meanings = Meanings(-np.eye(3)[:2], 0.9)
    angles = np.array([0.0, 0.4, 0.8])
    rows = np.stack([np.cos(angles), np.zeros(3), np.sin(angles)], axis=1)
    assert [reason is None for reason in meanings.verdicts(rows)] == [True, False, True]


def test_beyond_all_pairs_most_repetitions_are_found_and_nothing_else_is(monkeypatch) -> None:
    """Rows of some topics and repetitions of them, against all pairs."""
    monkeypatch.setattr(meaning, "_ALL_PAIRS", 1_000)
    monkeypatch.setattr(meaning, "_CELLS", 64)
    rng = np.random.default_rng(3)
    topics = rng.normal(size=(30, 64))
    rows = topics[rng.integers(0, 30, 6_000)] + rng.normal(size=(6_000, 64))
    again = rows[rng.choice(3_000, 1_000)] + 0.25 * rng.normal(size=(1_000, 64))
    both = np.concatenate([rows, again])
    meanings = Meanings(rng.normal(size=(40, 64)), 0.93)
    dropped = np.array([reason is not None for reason in meanings.verdicts(both)])
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    close = np.tril(unit @ unit.T >= 0.93, -1)
    near = close.any(axis=1)
    assert near.sum() > 900
    assert dropped[near].mean() >= 0.95
    assert not dropped[~near].any()


def test_rows_that_bounds_pass_over_are_no_repetitions(monkeypatch) -> None:
    monkeypatch.setattr(meaning, "_ALL_PAIRS", 600)
    monkeypatch.setattr(meaning, "_CELLS", 80)
    rng = np.random.default_rng(4)
    # Rows of few topics, which bounds can hardly tell apart, and scattered ones, which they can.
    rows = rng.normal(size=(2_000, 256)) * np.linspace(3.0, 0.1, 256)
    rows[::4] = rows[: len(rows[::4])] + 0.5 * rng.normal(size=(len(rows[::4]), 256))
    rows[1::5] = 0.3 * rows[1::5] + 3.0 * rng.normal(size=(3, 256))[rng.integers(0, 3, len(rows[1::5]))]
    found = Meanings(rows[:30], 0.9).verdicts(np.concatenate([rows, np.zeros((2, 256)), rows[:50]]))
    monkeypatch.setattr(meaning, "_LEAST_WIDTH", 1_000_000)
    assert found == Meanings(rows[:30], 0.9).verdicts(np.concatenate([rows, np.zeros((2, 256)), rows[:50]]))
    assert 0.1 < np.mean([reason is None for reason in found]) < 0.9
