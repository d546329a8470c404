"""Rows on disk read as the array that they are, however they are asked for."""

from pathlib import Path

import numpy as np
import pytest

from synalign_jax.core.checks import InputError, check_rows
from synalign_jax.pipeline import on_disk
from synalign_jax.pipeline.on_disk import RowsOnDisk, SomeRows


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
@pytest.mark.parametrize("rows", [0, 1, 50])
@pytest.mark.parametrize("together", [1, 8, 8_192])
def test_they_read_as_the_array(monkeypatch, tmp_path: Path, dtype: str, rows: int, together: int) -> None:
    monkeypatch.setattr(on_disk, "_TOGETHER", together)
    rng = np.random.default_rng(rows)
    whole = rng.normal(size=(rows, 7)).astype(dtype)
    np.save(tmp_path / "rows.npy", whole)
    found, whole = RowsOnDisk(tmp_path / "rows.npy"), whole.astype(np.float32)
    assert (found.shape, found.dtype, len(found)) == (whole.shape, whole.dtype, rows)
    np.testing.assert_array_equal(np.asarray(found), whole)
    for part in (slice(3, 9), slice(None, None, 4), slice(40, 99), slice(9, 3), slice(None, None, -1)):
        np.testing.assert_array_equal(found[part], whole[part])
    for count in (0, 1, 30) if rows else ():
        for places in (rng.integers(0, rows, count), np.sort(rng.integers(0, rows, count))):
            np.testing.assert_array_equal(found[places], whole[places])
            np.testing.assert_array_equal(SomeRows(found, places)[::2], whole[places][::2])


def test_a_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    rows = np.zeros((5, 2), np.float32)
    rows[4, 1] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(InputError, match="row 4, column 1 is nan"):
        check_rows("rows", RowsOnDisk(tmp_path / "rows.npy"))
