"""Against recorded torch vectors (record_reference.py)."""

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from reference_texts import mixed_texts, sketch

from synalign_jax.text import Encoder

DATA = Path(__file__).parent / "data"


def test_minilm_equals_torch_on_a_thousand_real_texts(minilm: Encoder, reviews: dict[str, list[str]]) -> None:
    texts = mixed_texts(reviews)
    assert len(texts) == 1000
    vectors, cut = minilm.embed_marked(texts)
    assert 5 < cut.sum() < 100
    recorded = np.load(DATA / "minilm.npz")["sketch"].astype(np.float64)
    # Unit vectors: 1 - cosine is half the squared distance, which the sketch keeps to one part in eight.
    distance = 0.5 * np.sum((sketch(vectors) - recorded) ** 2, axis=1)
    assert distance.max() < 1e-6


@pytest.mark.parametrize("name", tiny_models.ALL)
def test_every_family_equals_torch(name: str, tmp_path: Path) -> None:
    ours = Encoder.from_pretrained(tiny_models.make(tmp_path, name)).embed(tiny_models.TEXTS)
    check_same(ours, np.load(DATA / "tiny.npz")[name])


@pytest.mark.parametrize("name", tiny_models.SETTINGS)
def test_settings_mean_what_they_mean_to_sentence_transformers(name: str, tmp_path: Path) -> None:
    ours = Encoder.from_pretrained(tiny_models.make_with_settings(tmp_path, name)).embed(tiny_models.TEXTS)
    check_same(ours, np.load(DATA / "tiny.npz")[name])


def check_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.shape == ours.shape
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.99999
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1), rtol=1e-4)
    # A model that gave every text the same vector would pass too.
    assert (ours @ ours[4] / np.linalg.norm(ours, axis=1) / math.sqrt(ours[4] @ ours[4])).min() < 0.9


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_bfloat16_stays_close(name: str, tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_models.make(tmp_path, name), dtype="bfloat16")
    ours = encoder.embed(tiny_models.TEXTS)
    assert ours.dtype == np.float32
    assert np.sum(ours * np.load(DATA / "tiny.npz")[name], axis=1).min() > 0.99
