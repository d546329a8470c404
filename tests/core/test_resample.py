"""resample: counts, proportions and MMD^2 of what each method picks."""

import jax
import numpy as np
import pytest

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import rbf
from synalign_jax.core.mmd.mmd import mmd2
from synalign_jax.core.resample import resample


def _pool(m: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=m) * (rng.uniform(size=m) < 0.7)
    return rng.normal(size=(m, 3)).astype("f4"), (weights / weights.sum()).astype("f4")


def test_independent_draws_follow_the_weights() -> None:
    _, weights = _pool()
    picks = resample(weights, 200_000, key=jax.random.key(0), method="independent")
    frequencies = np.bincount(picks, minlength=len(weights)) / len(picks)
    assert (frequencies[weights == 0] == 0).all()
    # Five standard errors of each frequency.
    assert (np.abs(frequencies - weights) < 5 * np.sqrt(weights / len(picks)) + 1e-9).all()


def test_systematic_takes_each_row_its_expected_number_of_times() -> None:
    _, weights = _pool()
    picks = resample(weights, 1_000, key=jax.random.key(0), method="systematic")
    counts = np.bincount(picks, minlength=len(weights))
    assert (counts >= np.floor(1_000 * weights.astype("f8") - 1e-3)).all()
    assert (counts <= np.ceil(1_000 * weights.astype("f8") + 1e-3)).all()


def test_herding_picks_distinct_rows_nearer_than_draws() -> None:
    points, weights = _pool()
    kernel = rbf(2.0)

    def distance(method: str, seed: int) -> float:
        distinct = method in ("herding", "auto")
        key = jax.random.key(seed)
        picks = resample(
            weights, 60, key=key, embeddings=points, kernel=kernel, method=method, distinct=distinct
        )
        if method == "herding":
            assert len(set(picks.tolist())) == 60
            assert (weights[picks] > 0).all()
        return float(mmd2(points[picks], points, y_weights=weights, kernel=kernel))

    herding = distance("herding", 0)
    assert herding < 0.2 * np.mean([distance("independent", s) for s in range(10)])
    assert herding == distance("auto", 0)


def test_herding_comes_nearest_where_rows_may_repeat() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(400, 30)).astype("f4")
    weights = rng.gamma(0.5, size=400)
    kernel, size = rbf(8.0), round(weights.sum() ** 2 / np.sum(weights**2))

    def distance(**settings) -> float:
        picks = resample(weights, size, key=jax.random.key(0), embeddings=points, kernel=kernel, **settings)
        assert (len(np.unique(picks)) == size) == settings.get("distinct", False)
        return float(mmd2(points[picks], points, y_weights=weights, kernel=kernel))

    assert distance() < min(distance(distinct=True), distance(method="systematic"))


def test_distinct_rows_repeat_only_where_there_are_too_few() -> None:
    points, weights = _pool()
    few = np.where(np.arange(len(weights)) < 20, weights, 0.0)
    picks = resample(few, 30, key=jax.random.key(0), embeddings=points, distinct=True)
    assert len(picks) == 30
    assert (few[picks] > 0).all()


@pytest.mark.parametrize(("dtype", "offset"), [("f8", 1e6), ("f4", 1e3), ("f2", 0.0)])
def test_rows_far_from_the_origin_and_of_other_precision_are_drawn_as_those_near(
    dtype: str, offset: float
) -> None:
    pool, weights = _pool()
    pool = np.round(64 * pool) / 64  # what every one of these holds exactly
    near, far = (
        resample(weights, 20, key=jax.random.key(0), embeddings=x, method="herding", distinct=True)
        for x in (pool, (pool.astype("f8") + offset).astype(dtype))
    )
    np.testing.assert_array_equal(near, far)


def test_labels_get_their_shares() -> None:
    points, weights = _pool()
    labels = np.array(["a", "b", "c", "d"])[np.arange(len(weights)) % 4]
    for method in ("independent", "systematic", "herding"):
        picks = resample(
            weights,
            50,
            key=jax.random.key(0),
            embeddings=points,
            labels=list(labels),
            label_proportions={"a": 0.5, "b": 0.25, "c": 0.25},
            method=method,
        )
        names, counts = np.unique(labels[picks], return_counts=True)
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) in (
            {"a": 25, "b": 13, "c": 12},
            {"a": 25, "b": 12, "c": 13},
        )
    own = resample(weights, 100, key=jax.random.key(0), labels=list(labels))
    share = weights[labels == "a"].sum()
    assert abs(np.mean(labels[own] == "a") - share) <= 0.01


def test_same_key_same_rows() -> None:
    points, weights = _pool()
    for method in ("independent", "systematic", "herding"):
        one, two = (
            resample(weights, 20, key=jax.random.key(3), embeddings=points, method=method) for _ in range(2)
        )
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros(400)}, "weights: the weights sum to 0"),
        ({"weights": -np.ones(400)}, "weights: row 0 is -1"),
        ({"size": 0}, "size: 0"),
        ({"method": "best"}, "method: 'best'"),
        ({"method": "herding"}, "embeddings: herding needs them"),
        (
            {"method": "herding", "embeddings": _pool()[0], "size": 399, "distinct": True},
            "size: 399 distinct rows wanted",
        ),
        ({"method": "systematic", "distinct": True}, "distinct: systematic draws repeat rows"),
        ({"label_proportions": {"a": 1.0}}, "they need labels"),
        ({"labels": ["a"] * 400, "label_proportions": {"b": 1.0}}, "rows of 'b' wanted"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    arguments = {"weights": _pool()[1], "size": 10, "key": jax.random.key(0)} | change
    with pytest.raises(InputError, match=message):
        resample(**arguments)
