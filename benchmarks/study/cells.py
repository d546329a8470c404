"""The cells of the study - pool, few-shot size, seed, arm, student - run one by one and kept in a JSONL
file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .arms import BOTH, IDEAL, POOL, Chosen, Few, choose
from .data import FEWGEN, IMDB
from .spoil import SPOILS, Pool, foreign, joined
from .students import Train, predict
from .vectors import load

POOL_ROWS = 2_000
_SPOILT_ROWS = 1_500
SIX = "six LLMs"
DEVELOPED = (*FEWGEN, "imdb_flan-t5-xl", "imdb_gpt-3.5-turbo-instruct")
"""Published pools that were looked at while the rule of `mix` was made; the others were not."""


@dataclass(frozen=True)
class Task:
    """Names of the real rows to draw the few from and of the test rows; `pools` makes each pool when
    asked.
    """

    name: str
    real: str
    test: str
    pools: dict[str, Callable[[], Pool]]
    first: int | None = None  # of the real rows


def published(load_pool: Loader) -> Iterator[Task]:
    """The pools as their generators wrote them."""
    for task, real, test, names in (
        ("SST-2", "sst2_train", "sst2_test", FEWGEN),
        ("IMDb", "imdb_train", "imdb_test", IMDB),
    ):
        yield Task(task, real, test, {name: partial(load_pool, name, POOL_ROWS) for name in names})


def generators(load_pool: Loader) -> Iterator[Task]:
    """The six IMDb generators in one pool, and each alone with as many rows as the pool has."""
    pools: dict[str, Callable[[], Pool]] = {SIX: lambda: joined(SIX, [load_pool(name, 500) for name in IMDB])}
    pools |= {name: partial(load_pool, name, 3_000) for name in IMDB}
    yield Task("IMDb, 3,000 rows", "imdb_train", "imdb_test", pools)


def spoilt(load_pool: Loader) -> Iterator[Task]:
    """Pools with a known fault: real rows of AG News and rows of two generators, spoilt in nine ways."""
    for task, real, test, name, other in (
        ("SST-2", "sst2_train", "sst2_test", "fewgen_21", "tweets"),
        ("AG News", "agnews_dev", "agnews_test", "agnews_dev", "newsgroups"),
        ("IMDb", "imdb_train", "imdb_test", "imdb_gpt-3.5-turbo-instruct", "rotten_tomatoes"),
    ):
        own = name == real
        pools = {spoil: partial(_spoil, load_pool, task, name, other, spoil, 2_500 * own) for spoil in SPOILS}
        yield Task(f"spoilt {task}", real, test, pools, first=2_500 if own else None)


def _spoil(load_pool: Loader, task: str, name: str, other: str, spoil: str, start: int) -> Pool:
    clean = load_pool(name, _SPOILT_ROWS, start)
    strange = load_pool(other, _SPOILT_ROWS) if SPOILS[spoil] is foreign else clean
    rng = np.random.default_rng(zlib.crc32(f"{task} {spoil}".encode()))
    return SPOILS[spoil](clean, strange, rng).named(spoil, clean)


PARTS: dict[str, Callable[[Loader], Iterator[Task]]] = {
    "published": published,
    "generators": generators,
    "spoilt": spoilt,
}


class Loader:
    """Rows and pools by name, from a folder of data and a folder of embeddings."""

    def __init__(self, data: Path | None, cache: Path) -> None:
        self._data, self._cache = data, cache

    def __call__(self, name: str, count: int, start: int = 0) -> Pool:
        stop = start + count
        rows, vectors = load(name, self._data, self._cache, stop)
        return Pool(name, vectors[start:stop], rows.texts[start:stop], np.array(rows.labels[start:stop]))

    def few(self, name: str, first: int | None = None) -> Few:
        rows, vectors = load(name, self._data, self._cache, first)
        return Few(vectors, rows.texts, np.array(rows.labels))


class Records:
    """Finished cells in a JSONL file; one that was cut off in its last line goes on before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = []
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self.rows.append(json.loads(line))
                whole += len(line)
            with path.open("r+b") as file:
                file.truncate(whole)
        self._known = {_key(row) for row in self.rows}

    def __contains__(self, row: dict[str, Any]) -> bool:
        return _key(row) in self._known

    def add(self, row: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        self._known.add(_key(row))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("part", "task", "pool", "size", "seed", "arm", "student"))


def run(
    part: str,
    task: Task,
    name: str,
    size: int,
    seed: int,
    arms: list[str],
    students: list[str],
    done: Records,
    loader: Loader,
) -> int:
    """All arms and students of one draw of the real rows that are not yet done; how many were run."""
    cell = {"part": part, "task": task.name, "pool": name, "size": size, "seed": seed}
    missing = [
        (arm, left)
        for arm in arms
        if (left := [s for s in students if {**cell, "arm": arm, "student": s} not in done])
    ]
    if not missing:
        return 0
    few = _draw(loader.few(task.real, task.first), size, seed)
    test, pool = loader.few(task.test), task.pools[name]()
    count = 0
    for arm, left in missing:
        source = pool.clean if arm == IDEAL and pool.clean is not None else pool
        chosen = choose(arm, few, source, seed)
        for student in left:
            score = _score(student, few, source, chosen, test, seed)
            done.add({**cell, "arm": arm, "student": student, **score})
            count += 1
    return count


def _score(student: str, few: Few, pool: Pool, chosen: Chosen, test: Few, seed: int) -> dict[str, Any]:
    train = Train(
        np.concatenate([few.vectors, pool.vectors]),
        few.texts + pool.texts,
        np.concatenate([few.labels, pool.labels]),
        np.concatenate([chosen.real, chosen.pool]),
    )
    right = predict(student, train, test.vectors, test.texts, seed) == test.labels
    total = chosen.pool.sum()
    return {
        "accuracy": float(right.mean()),
        "right": np.packbits(right).tobytes().hex(),
        "test_rows": len(right),
        "pool_weight": float(total),
        "effective_rows": float(total**2 / np.square(chosen.pool).sum()) if total > 0 else 0.0,
        "seconds": chosen.seconds,
        **chosen.notes,
    }


def _draw(real: Few, size: int, seed: int) -> Few:
    """Rows at random with every label in its share, two of each at least."""
    rng = np.random.default_rng([size, seed])
    names, counts = np.unique(real.labels, return_counts=True)
    shares = np.maximum(2, np.round(size * counts / counts.sum())).astype(int)
    rows = np.concatenate(
        [
            rng.choice(np.flatnonzero(real.labels == y), n, replace=False)
            for y, n in zip(names, shares, strict=True)
        ]
    )
    rng.shuffle(rows)
    return Few(real.vectors[rows], [real.texts[i] for i in rows], real.labels[rows])


def bits(record: dict[str, Any]) -> np.ndarray:
    """(test rows,) which were right."""
    packed = np.frombuffer(bytes.fromhex(record["right"]), np.uint8)
    return np.unpackbits(packed)[: record["test_rows"]].astype(bool)


def arms_of(part: str, wanted: list[str]) -> list[str]:
    """Spoilt pools are compared with themselves before they were spoilt, too."""
    return [*wanted, IDEAL] if part == "spoilt" and {POOL, BOTH} & set(wanted) else wanted
