"""Rows of several arrays as one are those of their concatenation, however they are read."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synalign_jax.core.checks import InputError, check_rows
from synalign_jax.core.joined import JoinedRows
from synalign_jax.evaluation import metrics

_PARTS = st.lists(
    st.integers(0, 4).flatmap(
        lambda n: arrays(np.float32, (n, 3), elements=st.floats(-9, 9, width=32)),
    ),
    min_size=1,
    max_size=4,
)


@given(_PARTS, st.data())
def test_they_read_as_their_concatenation(parts: list[np.ndarray], data: Any) -> None:
    joined, whole = JoinedRows(parts), np.concatenate(parts)
    assert (joined.shape, joined.dtype, len(joined)) == (whole.shape, whole.dtype, len(whole))
    np.testing.assert_array_equal(np.asarray(joined), whole)
    part = data.draw(st.slices(len(whole)))
    np.testing.assert_array_equal(joined[part], whole[part])
    if len(whole):
        rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=9)), int)
        np.testing.assert_array_equal(joined[rows], whole[rows])


def test_a_row_that_cannot_be_used_is_named() -> None:
    rows = np.zeros((5, 2), np.float32)
    rows[1, 1] = np.nan
    with pytest.raises(InputError, match="row 4, column 1 is nan"):
        check_rows("rows", JoinedRows([np.ones((3, 2), np.float32), rows]))


def test_students_are_those_of_the_concatenation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_ROWS", 64)
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b"], 120)
    rows = (rng.normal(size=(120, 3)) + (labels == "a")[:, None]).astype(np.float32)
    found = [
        metrics.compare_training_sets(
            {"both": (own, labels.tolist())}, rows, labels.tolist(), key=jax.random.key(0), seeds=2
        )
        for own in (rows, JoinedRows([rows[:50], rows[50:]]))
    ]
    assert found[0] == found[1]
