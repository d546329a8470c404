"""A .npy file of vectors that grows row by row and can be taken up again after a kill."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import ModelError


class VectorFile:
    """Appends float32 rows to `path`; beside it, `path`.progress says which texts they belong to.

    The progress is written after its rows are, and holds a running hash of the texts: rows beyond it were cut
    off in the middle, and are dropped on the next start.

    Args:
        identity: the embedder's; rows of another embedder are not taken up.

    Raises:
        ModelError: `path` exists and this class did not write it.
    """

    def __init__(self, path: Path, identity: str, dimension: int) -> None:
        self.path = path
        self.dimension = dimension
        self.rows = 0
        self.cut = 0
        self._progress = path.with_name(path.name + ".progress")
        self._head = {"identity": identity, "dimension": dimension}
        self._hash = hashlib.sha256()
        if path.exists() and not self._progress.exists():
            raise ModelError(f"{path}: exists and was not written by this command; remove it or name another")

    def resume(self, texts: Iterator[str]) -> Iterator[str]:
        """Take as many texts as an earlier start has finished; returns those that are still to be done."""
        last = _read_progress(self._progress)
        same = self.path.is_file() and all(last.get(key) == value for key, value in self._head.items())
        taken = list(islice(texts, last["rows"])) if same else []
        for text in taken:
            self._add_to_hash(text)
        if not same or len(taken) != last["rows"] or self._hash.hexdigest() != last["texts"]:
            self._hash = hashlib.sha256()
            self._record()
            with self.path.open("wb") as stream:
                self._header(stream)
            return chain(taken, texts)
        self.rows, self.cut = last["rows"], last["cut"]
        with self.path.open("r+b") as stream:
            stream.truncate(self._header(stream) + self.rows * self.dimension * 4)
        return texts

    def append(self, texts: Sequence[str], vectors: np.ndarray, cut: int) -> None:
        try:
            with self.path.open("r+b") as stream:
                stream.seek(0, 2)
                stream.write(np.ascontiguousarray(vectors, "<f4").tobytes())
        except OSError as error:  # of a full disk, which does not say where
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.rows += len(texts)
        self.cut += cut
        for text in texts:
            self._add_to_hash(text)
        self._record()

    def finish(self) -> np.ndarray:
        """The rows as a memory map, the file now a valid .npy file."""
        with self.path.open("r+b") as stream:
            self._header(stream)
        # NumPy cannot map a file without rows.
        return np.load(self.path, mmap_mode="r" if self.rows else None)

    def _header(self, stream: BinaryIO) -> int:
        """Write the header for the present number of rows; its length does not depend on that number."""
        stream.seek(0)
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self.dimension)}
        )
        return stream.tell()

    def _add_to_hash(self, text: str) -> None:
        data = text.encode("utf-8")
        self._hash.update(len(data).to_bytes(8, "little") + data)

    def _record(self) -> None:
        """Replace the progress file in one step, so that a kill leaves the old one or the new one."""
        new = self._progress.with_name(self._progress.name + ".new")
        new.write_text(
            json.dumps({**self._head, "rows": self.rows, "texts": self._hash.hexdigest(), "cut": self.cut}),
            encoding="utf-8",
        )
        os.replace(new, self._progress)


def _read_progress(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
