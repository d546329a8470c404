import numpy as np
import pytest
import sacrebleu

from synalign_jax.evaluation.measures.copying import copying, keys, nearest_distances, overlap
from synalign_jax.evaluation.measures.wording import distinct_share, gram_count, self_bleu, word_counts


def test_words_are_counted_without_signs() -> None:
    np.testing.assert_array_equal(word_counts(["It's a film -- a good one!", "", "…"]), [6, 0, 0])
    assert gram_count(["a b c", "d"], 2) == 2


def test_the_share_of_distinct_grams_is_of_the_first_so_many() -> None:
    texts = ["a b a b", "a b c"]
    assert distinct_share(texts, 7, 1) == pytest.approx(3 / 7)
    assert distinct_share(texts, 4, 1) == pytest.approx(2 / 4)
    # a b, b a, a b | a b, b c: none spans two texts.
    assert distinct_share(texts, 99, 2) == pytest.approx(3 / 5)
    assert np.isnan(distinct_share(["", "!"], 5, 1))


def test_self_bleu_is_the_mean_of_sentence_scores() -> None:
    texts = [
        "the film was good and long",
        "the film was bad and long",
        "a quiet evening at home with the cat",
    ]
    expected = np.mean([sacrebleu.sentence_bleu(t, [u for u in texts if u is not t]).score for t in texts])
    assert self_bleu(texts) == pytest.approx(expected)
    assert self_bleu(["one and the same text here"] * 3) == pytest.approx(100)


def test_copies_are_found_through_case_and_punctuation() -> None:
    real = ["A fine film.", "Dull, and far too long.", "!!"]
    pool = ["a  FINE film", "Dull and far too long", "Another film.", "another film", "??", "Ａ fine film"]
    rng = np.random.default_rng(0)
    found = copying(rng.normal(size=(3, 4)), rng.normal(size=(6, 4)), real, pool)
    assert found.copies == 3
    assert found.distinct == 4
    assert overlap(keys(np.zeros((6, 1)), pool), keys(np.zeros((3, 1)), real)) == [(0, 0), (1, 1), (5, 0)]


def test_passages_are_eight_words_in_a_row() -> None:
    line = "one two three four five six seven eight nine"
    pool = [f"so: {line}, she said", " ".join(line.split()[:7]) + " then"]
    assert copying(np.zeros((1, 2)), np.eye(2), [line], pool).passages == 1
    assert copying(np.zeros((1, 2)), np.eye(2), None, None).passages is None


def test_without_texts_vectors_say_what_is_a_copy() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(40, 3)).astype(np.float32)
    pool = np.concatenate([real[:5], real[:5], rng.normal(size=(30, 3)).astype(np.float32)])
    found = copying(real, pool, None, None)
    assert (found.copies, found.distinct, found.rows) == (10, 35, 40)
    assert found.closer >= 10


def test_nearest_distances_are_those_by_definition() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(1_500, 3)) + 100, rng.normal(size=(70, 3)) + 100
    full = np.linalg.norm(a[:, None] - b[None], axis=2)
    np.testing.assert_allclose(nearest_distances(a, b), full.min(axis=1), rtol=1e-3, atol=1e-3)
    own = np.linalg.norm(b[:, None] - b[None], axis=2) + np.diag(np.full(70, np.inf))
    np.testing.assert_allclose(nearest_distances(b, b, same=True), own.min(axis=1), rtol=1e-3, atol=1e-3)
