"""Finished pieces of a long computation as files, until its result is there."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .folder import replacing
from .on_disk import RowsOnDisk

_WORTH = 2.0  # seconds of work below which a piece is not kept: it is done again as fast
_BLOCK = 65_536


class FileCheckpoint:
    """Keeps arrays in a folder, for one computation; a `Checkpoint` of the core.

    Each file appears whole or not at all. A disk that takes no more is heard of once, and the work goes on.

    Args:
        folder: may hold the pieces of several computations; it is made when the first piece is kept.
        key: names the computation and all that decides its outcome; see `fingerprint`. None keeps nothing.

    Attributes:
        found: whether an earlier call has left pieces.
    """

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder, self._key, self._own = folder, key, folder / (key or "nothing")
        self.found = self._own.is_dir() and any(self._own.glob("*.npz"))
        self._full = key is None
        self._last = time.monotonic()

    def get(self, name: str) -> Mapping[str, np.ndarray] | None:
        try:
            with self._path(name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile):  # none, or one that is damaged: computed again
            return None

    def put(self, name: str, **arrays: np.ndarray) -> None:
        if self._full or time.monotonic() - self._last < _WORTH:
            return
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(name)) as temporary, temporary.open("wb") as file:
                # NumPy before 2.2 takes `allow_pickle` here for an array's name; `get` refuses objects.
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            self._full = True
            warnings.warn(
                f"{self._own}: cannot be written ({error.strerror}), so what is computed is not kept: stopped"
                " from here on, it would be computed again",
                stacklevel=2,
            )
        self._last = time.monotonic()

    def further(self, *parts: Any) -> FileCheckpoint:
        """That of another computation in the folder, of what this one was given and these parts."""
        return FileCheckpoint(self._folder, self._key and fingerprint(self._key, *parts))

    def clear(self) -> None:
        """Forget all, of other computations in the folder too: the result is there."""
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._own / f"{name.replace(' ', '-')}.npz"


def fingerprint(*parts: Any) -> str:
    """Names a computation by its inputs and settings: arrays, lists of strings, and what JSON can hold.

    Versions count as settings: another release may compute something else.
    """
    digest = hashlib.blake2b(digest_size=12)
    for name in ("synalign-jax", "jax", "numpy"):
        digest.update(version(name).encode() + b"\0")
    for part in parts:
        if isinstance(part, np.ndarray | RowsOnDisk):
            digest.update(f"{part.dtype.str} {part.shape}".encode())
            for start in range(0, len(part), _BLOCK):
                digest.update(np.ascontiguousarray(part[start : start + _BLOCK]).data)
        else:
            text = json.dumps(part, default=repr, ensure_ascii=True)
            digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()
