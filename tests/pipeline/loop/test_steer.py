"""Where the next demonstrations come from, and which attribute values are drawn."""

import json

import numpy as np

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


def _row(text: str, **attributes: str) -> dict:
    return {"text": text, "attributes": json.dumps(attributes)}


def test_values_are_drawn_by_the_weight_of_their_rows() -> None:
    rows = [_row(str(i), tone="warm" if i % 2 else "icy") for i in range(40)]
    odds = attribute_odds(rows, np.where(np.arange(40) % 2, 2.0, 0.0))
    assert odds["tone", "warm"] > 1.5
    assert odds["tone", "icy"] == 0.25  # never to nothing


def test_a_contrast_shows_the_extremes() -> None:
    rows = [_row(str(i)) for i in range(10)]
    assert contrast(rows, np.arange(10.0)) == (["9", "8"], ["0", "1"])
    assert contrast(rows[:5], np.arange(5.0)) == ([], [])


def test_rows_that_mean_the_same_are_found() -> None:
    rng = np.random.default_rng(2)
    real = rng.normal(size=(50, 32))
    meanings = Meanings(real)
    assert 0.85 <= meanings.threshold <= 0.98
    new = rng.normal(size=32)
    assert meanings.verdict(real[7] * 3) == "means what a real row means"
    assert meanings.verdict(new) is None
    assert meanings.verdict(new + 0.01 * rng.normal(size=32)) == "means what an earlier row means"
    for _ in range(40):
        assert meanings.verdict(rng.normal(size=32)) is None
