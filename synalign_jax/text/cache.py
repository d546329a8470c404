"""Vectors on disk, keyed by the embedder's identity and the text: nothing is embedded twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

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


class EmbeddingCache:
    """One SQLite file in `folder`, whole after a kill at any instant; several processes may share it."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "embeddings.sqlite", timeout=60)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the newest vectors, which are then computed again; never the file.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_SCHEMA)
        self._database.commit()

    def get(self, identity: str, texts: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
        """Text -> (float32 vector, whether the text was cut), for those that are known."""
        by_key = {_key(identity, text): text for text in texts}
        keys = list(by_key)
        found = {}
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
        with self._database:
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
