import numpy as np
import pytest

from synalign_jax.text import Embedder, GivenVectors, ModelError, embed_texts

VECTORS = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])


def test_texts_are_looked_up() -> None:
    given = GivenVectors(["a", "b", "a"], VECTORS)
    assert isinstance(given, Embedder)
    assert given.dimension == 2
    np.testing.assert_array_equal(embed_texts(given, ["b", "a", "b"]).vectors, [[3, 4], [1, 2], [3, 4]])
    assert given.identity != GivenVectors(["a", "b"], VECTORS[1:]).identity


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(ModelError, match=r"text 1: has no vector among the 2"):
        GivenVectors(["a", "b"], VECTORS[:2]).embed(["a", "c"])
    with pytest.raises(ModelError, match=r"expected \(2, dimension\), one row a text, got \(3, 2\)"):
        GivenVectors(["a", "b"], VECTORS)
    with pytest.raises(ModelError, match="rows 0 and 1 are of the same text and differ"):
        GivenVectors(["a", "a"], VECTORS[:2])
    with pytest.raises(ModelError, match="row 1 holds a value not finite"):
        GivenVectors(["a", "b"], [[0.0], [np.nan]])
