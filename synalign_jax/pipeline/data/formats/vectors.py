"""Vectors in files, as rows of float32 or as the .npy file holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.growing import Spill
from synalign_jax.pipeline.data.shards import SourceFile

_BLOCK = 65_536


def vector_of(where: str, name: str, value: Any) -> np.ndarray:
    """One cell as (width,) float32: a list of numbers, or the text of one.

    Raises:
        DataError: no value, anything but finite numbers, or numbers too large for float32.
    """
    if value is None:
        raise DataError(f"{where} has no value for '{name}'; fill it in or remove the row")
    given = value
    try:
        if isinstance(value, str):
            # NumPy writes its arrays without commas.
            value = json.loads(value) if "," in value or "[" not in value else value.strip("[] \n").split()
        wide = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        mend = "write it as [0.1, 0.2]"
        if isinstance(given, str) and "..." in given:
            mend = "numbers were left out when it was written as text; write lists, such as vector.tolist()"
        raise DataError(f"{where}: '{name}' is not a list of numbers; {mend}") from error
    if wide.ndim == 2 and len(wide) == 1:  # a batch of one
        wide = wide[0]
    return finite(where, name, wide)


def finite(where: str, name: str, wide: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    bad = ~np.isfinite(narrow)
    if bad.any():
        value = wide[bad][0]
        why = ", too large for float32" if np.isfinite(value) else ""
        raise DataError(
            f"{where}: '{name}' holds {value} in place {np.argwhere(bad)[0][-1]}{why}; embed the row again"
        )
    return narrow


def stack(name: str, wheres: Any, vectors: list[np.ndarray]) -> np.ndarray:
    """(rows, width) of one vector a row.

    Args:
        wheres: row number to its place in the file.
    """
    first = vectors[0].shape
    if not vectors[0].size:
        raise DataError(f"{name}: the embedding of {wheres(0)} holds no numbers; embed the row again")
    for row, vector in enumerate(vectors):
        if vector.shape != first or vector.ndim != 1 or not vector.size:
            raise DataError(
                f"{name}: the embedding of {wheres(row)} has shape {vector.shape}, the first has {first}"
            )
    return np.stack(vectors)


def read_npy(file: SourceFile, scratch: Path | None) -> np.ndarray:
    """(rows, width) float32 or float64 in this machine's byte order; mapped where the file holds just that.

    Raises:
        DataError: not a .npy file of numbers in rows, or numbers that are not finite.
    """
    try:
        if file.system is None:
            array = np.load(file.path, mmap_mode="r", allow_pickle=False)
        else:
            with file.open() as stream:
                array = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        with file.open() as stream:
            pointer = stream.read(23) == b"version https://git-lfs"
        if pointer:
            raise DataError(
                f"{file.name}: this is a Git LFS pointer and not the data; run: git lfs pull"
            ) from None
        why = str(error)
        if "pickle" in why or "Python objects" in why:
            why = "it holds pickled Python objects, which are never read"
        raise DataError(
            f"{file.name}: not a readable .npy array ({why}); write numbers of one width with numpy.save"
        ) from error
    if array.ndim != 2:
        raise DataError(f"{file.name}: expected an array of shape (rows, width), got {array.shape}")
    if len(array) and not array.shape[1]:
        raise DataError(f"{file.name}: its {len(array):,} rows hold no numbers")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"{file.name}: holds {array.dtype}; write numbers, with astype('float32')")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise DataError(f"{file.name}: the file has no rows")
    as_it_is = array.dtype in (np.dtype("f4"), np.dtype("f8")) and array.dtype.isnative
    spill = None if as_it_is else Spill(array.shape[0], array.shape[1], scratch)
    for start in range(0, len(array), _BLOCK):
        block = np.asarray(array[start : start + _BLOCK])
        with np.errstate(over="ignore"):
            narrow = block.astype(np.float32)
        if not np.isfinite(narrow).all():
            row = int(np.argwhere(~np.isfinite(narrow))[0][0])
            finite(f"{file.name}: row {start + row}", "array", block[row].astype(np.float64))
        if spill is not None:
            spill.append(narrow)
    return array if spill is None else spill.finish()


def arrow_vectors(name: str, start: int, column: str, values: Any) -> np.ndarray:
    """(rows, width) float32 of an Arrow column of lists.

    Raises:
        DataError: anything but equally long lists of finite numbers; the row is named, counted from `start`.
    """
    if isinstance(values, pa.ExtensionArray):  # tensors, as the hub's Array2D are
        values = values.storage
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        rows = [
            vector_of(f"{name}: row {start + i}", column, text) for i, text in enumerate(values.to_pylist())
        ]
        return stack(name, lambda row: f"row {start + row}", rows)
    if not (
        pa.types.is_list(values.type)
        or pa.types.is_large_list(values.type)
        or pa.types.is_fixed_size_list(values.type)
    ):
        raise DataError(f"{name}: column '{column}' holds {values.type}, expected lists of numbers")
    lengths = None
    if not pa.types.is_fixed_size_list(values.type):
        lengths = np.asarray(values.value_lengths())
        if len(set(lengths.tolist())) > 1:
            odd = int(np.flatnonzero(lengths != lengths[0])[0])
            raise DataError(
                f"{name}: the embedding of row {start + odd} has {lengths[odd]} numbers, others {lengths[0]}"
            )
    flat = values.flatten()
    if isinstance(flat.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType) and (
        lengths is None or set(lengths.tolist()) == {1}
    ):
        return arrow_vectors(name, start, column, flat)  # batches of one
    if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)):
        raise DataError(f"{name}: column '{column}' holds something other than numbers from row {start} on")
    if len(flat) == 0:
        raise DataError(f"{name}: the embedding of row {start} is empty")
    wide = flat.to_numpy(zero_copy_only=False).reshape(len(values), -1)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if not np.isfinite(narrow).all():
        row = int(np.argwhere(~np.isfinite(narrow))[0][0])
        finite(f"{name}: row {start + row}", column, wide[row].astype(np.float64))
    return narrow
