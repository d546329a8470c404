"""Training on a part of the token table against training on all of it."""

import jax
import numpy as np
import pytest
import tiny_models
from flax import nnx

from synalign_jax.text import Encoder, finetune
from synalign_jax.text.tuning import classifier as module
from synalign_jax.text.tuning.classifier import Classifier
from synalign_jax.text.tuning.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.from_pretrained(tiny_models.make(tmp_path_factory.mktemp("tiny"), "minilm"))


def _state(encoder: Encoder) -> nnx.State:
    return nnx.state(Classifier(encoder.model, encoder.files.pooling, 2, rngs=nnx.Rngs(0)))


def _table(state: nnx.State) -> np.ndarray:
    return np.asarray(state["encoder"]["tokens"]["embedding"][...])


def test_numbers_name_the_same_vectors_and_what_is_trained_goes_back(encoder: Encoder) -> None:
    texts = [np.array([2, 9, 9, 3], np.int32), np.array([2, 7, 3], np.int32)]
    whole = _state(encoder)
    vocabulary = Vocabulary(texts, len(_table(whole)))
    narrow = vocabulary.narrow(whole)
    assert len(_table(narrow)) == 8  # 0, 2, 3, 7 and 9 in a power of two
    for text in texts:
        np.testing.assert_array_equal(_table(narrow)[vocabulary.number(text)], _table(whole)[text])
    trained = jax.tree.map(lambda x: x + 1.0, narrow)
    wide = _table(vocabulary.widen(trained, whole))
    used = [0, 2, 3, 7, 9]
    np.testing.assert_allclose(wide[used], _table(whole)[used] + 1.0)
    rest = np.setdiff1d(np.arange(len(wide)), used)
    np.testing.assert_array_equal(wide[rest], _table(whole)[rest])


def test_the_table_is_never_larger_than_the_model(encoder: Encoder) -> None:
    size = len(_table(_state(encoder)))
    vocabulary = Vocabulary([np.arange(size, dtype=np.int32)], size)
    assert len(_table(vocabulary.narrow(_state(encoder)))) == size


def test_training_is_the_same_as_with_the_whole_table(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a quiet film", "a sad story", "funny life", "film film", "quiet life story", "sad"] * 4
    labels = np.tile([0, 1, 0, 1, 0, 1], 4)
    settings = {"classes": 2, "key": jax.random.key(0), "epochs": 3, "learning_rate": 1e-3}
    narrow = finetune(encoder, texts, labels, **settings).predict(texts)
    size = encoder.files.architecture.vocabulary
    everything = [np.arange(size, dtype=np.int32)]
    monkeypatch.setattr(module, "Vocabulary", lambda texts, size: Vocabulary(everything, size))
    whole = finetune(encoder, texts, labels, **settings).predict(texts)
    np.testing.assert_allclose(narrow, whole, atol=1e-5)
    assert np.ptp(whole[:, 0]) > 0.01  # something was learned
