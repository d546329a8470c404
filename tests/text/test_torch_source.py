"""sentence-transformers itself, where it is installed (-m torch)."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models

from synalign_jax.text import Embedder, Encoder, embed_texts

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", tiny_models.MODELS)
def test_it_gives_the_vectors_of_the_flax_encoder(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from synalign_adapters.sentence_transformers import SentenceTransformersEmbedder

    folder = tiny_models.make(tmp_path / "tiny", name)
    theirs = SentenceTransformersEmbedder(str(folder), device="cpu")
    assert isinstance(theirs, Embedder)
    vectors = embed_texts(theirs, tiny_models.TEXTS).vectors
    np.testing.assert_allclose(Encoder.from_pretrained(folder).embed(tiny_models.TEXTS), vectors, atol=2e-5)
    other = SentenceTransformersEmbedder(
        str(tiny_models.make(tmp_path / "other", name, seed=1)), device="cpu"
    )
    assert other.identity.split("@")[1] != theirs.identity.split("@")[1]
    assert theirs.embed([]).shape == (0, theirs.dimension)
