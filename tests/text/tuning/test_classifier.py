from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_models

from synalign_jax.text import Encoder, ModelError, finetune


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.from_pretrained(tiny_models.make(tmp_path_factory.mktemp("tiny"), "minilm"))


def sentences(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of 2 to 8 words; the label says whether "film" is among them."""
    rng = np.random.default_rng(seed)
    words = ["story", "quiet", "sad", "funny", "life", "cafe"]
    labels = rng.integers(0, 2, count)
    texts = []
    for label in labels:
        chosen = [str(word) for word in rng.choice(words, rng.integers(2, 8))]
        if label:
            chosen[rng.integers(len(chosen))] = "film"
        texts.append(" ".join(chosen))
    return texts, labels


def test_it_learns_a_rule_that_the_frozen_encoder_is_not_told(encoder: Encoder) -> None:
    texts, labels = sentences(300, 0)
    before = encoder.embed(texts[:5])
    student = finetune(
        encoder, texts, labels, classes=2, key=jax.random.key(0), epochs=8, learning_rate=3e-3, patience=8
    )
    fresh, truth = sentences(200, 1)
    probabilities = student.predict(fresh)
    assert probabilities.shape == (200, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.95
    assert student.epochs[-1].train_loss < 0.5 * student.epochs[0].train_loss
    np.testing.assert_array_equal(encoder.embed(texts[:5]), before)


def test_rows_without_weight_teach_nothing(encoder: Encoder) -> None:
    texts, labels = sentences(300, 0)
    wrong = np.arange(300) % 10 < 6
    dev = sentences(60, 2)
    settings = {"classes": 2, "key": jax.random.key(0), "dev": dev, "epochs": 8, "learning_rate": 3e-3}
    noisy = np.where(wrong, 1 - labels, labels)
    fresh, truth = sentences(200, 1)
    weighted = finetune(encoder, texts, noisy, weights=np.where(wrong, 0.0, 7.0), **settings)
    even = finetune(encoder, texts, noisy, **settings)
    assert (weighted.predict(fresh).argmax(axis=1) == truth).mean() > 0.9
    assert (even.predict(fresh).argmax(axis=1) == truth).mean() < 0.6


def test_it_stops_early_with_the_best_weights_and_repeats_itself(encoder: Encoder) -> None:
    texts, _ = sentences(120, 3)
    labels = np.random.default_rng(4).integers(0, 2, 120)
    dev = (texts[:40], 1 - labels[:40])  # what is learnt makes the dev split worse
    settings = {"classes": 2, "dev": dev, "epochs": 30, "learning_rate": 3e-3, "patience": 2}
    one, two = (finetune(encoder, texts, labels, key=jax.random.key(5), **settings) for _ in range(2))
    losses = [epoch.dev_loss for epoch in one.epochs]
    assert one.best_epoch == int(np.argmin(losses))
    assert len(losses) == one.best_epoch + 3 < 30
    predicted = one.predict(dev[0])
    np.testing.assert_allclose(
        -np.log(predicted[np.arange(40), dev[1]]).mean(), losses[one.best_epoch], rtol=1e-4
    )
    assert one.epochs == two.epochs
    np.testing.assert_array_equal(predicted, two.predict(dev[0]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"labels": [0, 1]}, "labels: expected 4 integers"),
        ({"labels": [0.0, 1.0, 0.0, 1.0]}, "labels: expected 4 integers, one a text, got float64"),
        ({"labels": [0, 1, 2, 1]}, "labels: row 2 is 2; labels are 0 to 1"),
        ({"weights": [1, 1, -1, 1]}, "weights: expected 4 finite numbers"),
        ({"weights": [0, 0, 0, 0]}, "weights: expected 4 finite numbers"),
        ({"texts": ["a"], "labels": [0]}, "no class has two texts"),
        ({"dev": (["a"], [0, 1])}, "dev labels: expected 1 integers"),
    ],
)
def test_bad_input_is_named(encoder: Encoder, change: dict, match: str) -> None:
    arguments = {"texts": ["a", "b", "c", "d"], "labels": [0, 1, 0, 1]} | change
    with pytest.raises(ModelError, match=match):
        finetune(encoder, **arguments, classes=2, key=jax.random.key(0))


def test_a_bfloat16_encoder_is_not_trained(tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_models.make(tmp_path, "minilm"), dtype="bfloat16")
    with pytest.raises(ModelError, match="load it in float32"):
        finetune(encoder, ["a", "b"], [0, 0], classes=2, key=jax.random.key(0))
