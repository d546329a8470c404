import numpy as np
import pytest

from synalign_jax.text import Embedder, Encoder, ModelError
from synalign_jax.text.protocol import Truncating


def test_it_is_an_embedder_with_unit_vectors(minilm: Encoder) -> None:
    assert isinstance(minilm, Embedder)
    assert isinstance(minilm, Truncating)
    assert "all-MiniLM-L6-v2@" in minilm.identity
    vectors = minilm.embed(["A dull film.", "A bright, funny film."])
    assert vectors.shape == (2, minilm.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert minilm.embed([]).shape == (0, minilm.dimension)


def test_a_vector_does_not_depend_on_its_neighbours(minilm: Encoder, reviews: dict[str, list[str]]) -> None:
    texts = reviews["rotten_tomatoes"][:60] + reviews["imdb"][:3]
    together = minilm.embed(texts)
    for i in (0, 17, 59, 62):
        np.testing.assert_allclose(minilm.embed([texts[i]])[0], together[i], atol=2e-6)


def test_strange_texts_are_embedded_and_long_ones_counted(minilm: Encoder) -> None:
    texts = ["", "   ", "\x00\x07\x1b[31m", "слово 字 كلمة 🎬", "a" * 100_000, "word " * 20_000]
    vectors, cut = minilm.embed_marked(texts)
    assert np.isfinite(vectors).all()
    assert cut.tolist() == [False, False, False, False, False, True]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="dtype: 'float8'; one of float32, bfloat16"):
        Encoder.from_pretrained("all-MiniLM-L6-v2", dtype="float8")
    with pytest.raises(ModelError, match=r"max_tokens: 300; .* takes 3 to 256"):
        Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=300)
