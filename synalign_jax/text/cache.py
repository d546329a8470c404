"""Vectors on disk, keyed by the embedder's identity and the text: nothing is embedded twice."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np

_ASK = 500  # keys in one query; SQLite's default limit of variables is 999 in older builds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    id INTEGER PRIMARY KEY,    -- rows are appended in order; only the small key index is random
    key BLOB NOT NULL UNIQUE,
    cut INTEGER NOT NULL,
    vector BLOB NOT NULL
)
"""


def _key(identity: str, text: str) -> bytes:
    return hashlib.blake2b(
        text.encode("utf-8"), key=hashlib.sha256(identity.encode()).digest(), digest_size=16
    ).digest()


@runtime_checkable
class VectorCache(Protocol):
    """Where vectors are looked for and kept, on this machine or on another."""

    def get(self, identity: str, texts: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
        """Text -> (float32 vector, whether the text was cut), for those that are known."""
        ...

    def put(self, identity: str, texts: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        """Keep one float32 vector a text, all or none of them."""
        ...


class EmbeddingCache:
    """One SQLite file in `folder`, whole after a kill at any instant; several processes may share it.

    So may threads that take turns.

    Raises:
        OSError: the file cannot be read or written, as on a full disk.
    """

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder).expanduser() / "embeddings.sqlite"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._mending():
            self._open()

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the newest vectors, which are then computed again; never the file.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_SCHEMA)
        self._database.commit()

    @contextlib.contextmanager
    def _mending(self) -> Iterator[None]:
        """A damaged file is set aside and a new one begun; what the block did not do is done again later."""
        try:
            yield
        except sqlite3.OperationalError as error:  # no damage: a lock that is held, a disk that is full
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            # A disk without room for the file's log is no more than that to SQLite.
            hint = "; is the disk full?" if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR else ""
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, f"{error}{hint}", str(self._path)) from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise
            self._database.close()
            aside = self._path.with_name(f"{self._path.name}.damaged")
            os.replace(self._path, aside)
            for rest in ("-wal", "-shm"):
                self._path.with_name(self._path.name + rest).unlink(missing_ok=True)
            warnings.warn(
                f"the embedding cache was damaged ({error}) and is begun anew, its vectors computed again;"
                f" the old file is {aside}, to be deleted",
                stacklevel=4,
            )
            self._open()

    def get(self, identity: str, texts: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
        """Text -> (float32 vector, whether the text was cut), for those that are known."""
        by_key = {_key(identity, text): text for text in texts}
        keys = list(by_key)
        found = {}
        with self._mending():
            for start in range(0, len(keys), _ASK):
                part = keys[start : start + _ASK]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, cut, vector FROM vectors WHERE key IN ({marks})"  # noqa: S608
                for key, cut, vector in self._database.execute(query, part):
                    found[by_key[key]] = (np.frombuffer(vector, "<f4"), bool(cut))
        return found

    def put(self, identity: str, texts: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        """Keep one float32 vector a text, all or none of them."""
        rows = (
            (_key(identity, text), int(c), np.ascontiguousarray(v, "<f4").tobytes())
            for text, c, v in zip(texts, cut, vectors, strict=True)
        )
        with self._mending(), self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO vectors (key, cut, vector) VALUES (?, ?, ?)", rows
            )

    def __len__(self) -> int:
        return self._database.execute("SELECT COUNT(*) FROM vectors").fetchone()[0]

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
