"""Static embeddings, against what the model2vec and sentence-transformers packages computed (recorded)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_static
from safetensors.numpy import load_file, save_file
from tiny_static import COLUMNS, TEXTS

from synalign_jax.text import Embedder, Encoder, ModelError, StaticEncoder, load_encoder
from synalign_jax.text.protocol import Truncating

RECORDED = Path(__file__).parent / "data" / "static.npz"


@pytest.mark.parametrize("name", tiny_static.MODELS)
def test_it_equals_model2vec(name: str, tmp_path: Path) -> None:
    encoder = StaticEncoder.from_pretrained(tiny_static.make(tmp_path, name))
    assert isinstance(encoder, Embedder)
    assert isinstance(encoder, Truncating)
    recorded = np.load(RECORDED)[name]
    # float16 vectors are rounded there and not here.
    exact = 1e-3 if recorded.dtype == np.float16 else 1e-6
    np.testing.assert_allclose(encoder.embed(TEXTS), recorded, atol=exact * np.abs(recorded).max())


def test_it_equals_the_static_embedding_of_sentence_transformers(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_static.make_of_sentence_transformers(tmp_path / "st"))
    assert isinstance(encoder, StaticEncoder)
    np.testing.assert_allclose(encoder.embed(TEXTS), np.load(RECORDED)["st"], atol=1e-5)


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    # 20 tokens are read, out of the first 60 characters: 20 times what a token of this vocabulary has.
    texts = ["film", "a " * 20, "a " * 21, "film" + "§" * 57]
    encoder = StaticEncoder.from_pretrained(tiny_static.make(tmp_path, "half"))
    vectors, cut = encoder.embed_marked(texts)
    assert cut.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(vectors[2], vectors[1])
    shorter = StaticEncoder.from_pretrained(tmp_path, max_tokens=3)
    assert shorter.embed_marked(texts)[1].tolist() == [False, True, True, True]
    assert shorter.identity != encoder.identity


def test_many_texts_are_the_mean_of_their_tokens_in_their_order(tmp_path: Path) -> None:
    folder = tiny_static.make(tmp_path, "quantised")
    encoder = StaticEncoder.from_pretrained(folder)
    rng = np.random.default_rng(0)
    words = ["the", "film", "story", "a", "7"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(20_000)]
    t = load_file(folder / "model.safetensors")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    of = {w: t["embeddings"][t["mapping"][vocabulary[w]]] * t["weights"][vocabulary[w]] for w in words}
    means = np.stack([np.mean([of[word] for word in text.split()], axis=0) for text in texts])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.embed(texts), expected, atol=1e-5)


def test_the_kind_is_recognised_by_the_files(tmp_path: Path) -> None:
    table = load_encoder(tiny_static.make(tmp_path / "table", "potion"))
    network = load_encoder(tiny_models.make(tmp_path / "network", "minilm"))
    assert isinstance(table, StaticEncoder)
    assert isinstance(network, Encoder)
    with pytest.raises(ModelError, match="not static embeddings"):
        load_encoder(tmp_path / "network", kind="static")
    with pytest.raises(
        ModelError, match="dtype: bfloat16; the table of static embeddings is summed in float32"
    ):
        load_encoder(tmp_path / "table", dtype="bfloat16")


def test_fewer_columns_are_cut_before_vectors_get_unit_length(tmp_path: Path) -> None:
    folder = tiny_static.make(tmp_path, "potion")
    whole, cut = StaticEncoder.from_pretrained(folder), StaticEncoder.from_pretrained(folder, truncate_dim=5)
    expected = whole.embed(["the film"])[:, :5]
    np.testing.assert_allclose(
        cut.embed(["the film"]), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )
    with pytest.raises(ModelError, match=f"truncate_dim: 13; .* has 1 to {COLUMNS} columns"):
        StaticEncoder.from_pretrained(folder, truncate_dim=13)


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"table": np.zeros((4, 2), np.float32)}, "no table 'embeddings' or 'embedding.weight'"),
        ({"embeddings": np.zeros((4, 2), np.float32)}, r"has \d+ tokens but the table 4 rows"),
        (
            {"embeddings": np.zeros((4, 2), np.float32), "mapping": np.full(96, 4)},
            "'mapping' names rows that 'embeddings' does not have",
        ),
        (
            {"embeddings": np.zeros((96, 2), np.float32), "weights": np.zeros(5, np.float32)},
            r"'weights' are \(5,\) for 96 tokens",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(tensors: Any, match: str, tmp_path: Path) -> None:
    folder = tiny_static.make(tmp_path, "potion")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=match):
        StaticEncoder.from_pretrained(folder)


def test_a_text_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    encoder = StaticEncoder.from_pretrained(tiny_static.make(tmp_path, "potion"))
    with pytest.raises(ModelError, match="text 9001: character 0 is half of a surrogate pair"):
        encoder.embed(["film"] * 9001 + ["\ud83d x"])
    assert encoder.embed([]).shape == (0, COLUMNS)
