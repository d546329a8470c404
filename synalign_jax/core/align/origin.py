"""Both sides moved by one vector, so that rows far from the origin keep their digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from tinygp import kernels as tk

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import Kernel
from synalign_jax.core.spacing import evenly_spaced

_SAMPLE = 2_048  # rows of each side from which the centre is taken
_FAR = 4.0  # squared distance of the centre from the origin, in units of the rows' variance
_LARGEST = 1e18  # values whose squares, summed over a few columns, still fit float32


class Moved:
    """Rows of an array less an origin, computed where they are sliced: the array may be memory-mapped.

    The difference is taken in float64 and kept in the dtype of the array.
    """

    def __init__(self, rows: Any, origin: np.ndarray) -> None:
        self._rows, self._origin = rows, origin
        self.shape, self.dtype = tuple(rows.shape), rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.asarray(self._rows[index])
        return (rows.astype(np.float64) - self._origin).astype(rows.dtype)


def origin_of(real: Any, synthetic: Any, kernel: Kernel | None) -> np.ndarray | None:
    """(d,) the common mean of both sides where it is far from the origin beside their spread; else None.

    ||x - y||^2 is computed as ||x||^2 + ||y||^2 - 2 x.y, which in float32 loses the difference of rows that
    share a large offset. A kernel of differences alone does not see the move; for any other there is none.

    Raises:
        InputError: values whose squares overflow float32, or a spread that vanishes in it.
    """
    some = np.concatenate([_some(real), _some(synthetic)])
    mean = some.mean(axis=0)
    spread = some - mean
    largest = float(np.abs(spread).max())
    if largest > _LARGEST:
        raise InputError(
            f"real, synthetic: values up to {largest:.0e} from their mean, whose squares overflow float32;"
            " divide all rows by one number"
        )
    if 0.0 < largest < 1.0 / _LARGEST:
        raise InputError(
            f"real, synthetic: rows differ by {largest:.0e} at most, which vanishes in float32 when squared;"
            " multiply all rows by one number"
        )
    if kernel is not None and not _of_differences(kernel):
        return None
    far = float(mean @ mean) > _FAR * float(np.mean(np.sum(spread**2, axis=1)))
    return mean if far else None


def _some(rows: Any) -> np.ndarray:
    return np.asarray(rows[evenly_spaced(len(rows), _SAMPLE)], np.float64)


def _of_differences(kernel: Kernel) -> bool:
    if isinstance(kernel, tk.Sum | tk.Product):
        return _of_differences(kernel.kernel1) and _of_differences(kernel.kernel2)
    return isinstance(kernel, tk.Stationary | tk.Constant)
