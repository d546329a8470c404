"""Copies in a pool against their definition, computed pair by pair."""

import numpy as np
import pytest

from synalign_jax.pipeline.data import copies
from synalign_jax.pipeline.data.copies import EXACT, NEAR, NONE, SEMANTIC, find_copies
from synalign_jax.pipeline.data.duplicates import TextIndex, word_pairs

_WORDS = np.array([f"word{i}" for i in range(400)])


def _texts(count: int, seed: int = 0) -> list[str]:
    """Random sentences, a third of them an earlier one with a few words replaced."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    for i in range(count):
        if i > 20 and rng.random() < 0.35:
            words = texts[rng.integers(i)].split()
            for _ in range(rng.integers(4)):
                words[rng.integers(len(words))] = rng.choice(_WORDS)
        else:
            words = rng.choice(_WORDS, rng.integers(5, 25)).tolist()
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_near_repetitions_are_those_of_the_exact_jaccard_similarity(threshold: float) -> None:
    texts = _texts(1_500)
    pairs = [word_pairs(text) for text in texts]
    index = TextIndex(threshold)
    there = found = 0
    for row, text in enumerate(texts):
        expected = any(len(pairs[row] & p) / len(pairs[row] | p) >= threshold for p in pairs[:row])
        hit = index.find(text)
        if hit is not None:
            assert len(pairs[row] & pairs[hit]) / len(pairs[row] | pairs[hit]) >= threshold
        there += expected
        found += expected and hit is not None
        index.add(text)
    assert there > 100
    assert found >= 0.95 * there


def test_each_kind_is_counted_and_leaks_are_named() -> None:
    rng = np.random.default_rng(0)
    pool = ["the plot is thin but the acting is superb", "a quiet film about two brothers and the sea"]
    pool += [
        pool[0],
        "the plot is thin but the acting is really superb",
        "an ode to brothers",
        "copied from the real",
    ]
    real = ["copied from the real", "another one of them"]
    vectors = rng.normal(size=(6, 64)).astype("f4")
    vectors[4] = vectors[1] + 0.01 * rng.normal(size=64)
    found = find_copies((pool, vectors), (real, rng.normal(size=(2, 64)).astype("f4")))
    assert found.kind.tolist() == [NONE, NONE, EXACT, NEAR, SEMANTIC, NONE]
    assert found.of.tolist() == [0, 1, 0, 0, 1, 5]
    assert found.leak.tolist() == [-1, -1, -1, -1, -1, 0]
    said = " ".join(found.remarks(lambda row: row + 10))
    assert "3 of 6 rows repeat an earlier one: 1 exactly, 1 nearly, 1 by their vectors" in said
    assert "copies of real rows: 1 (rows 15, counted from 0)" in said


def test_one_text_under_two_labels_is_a_conflict_and_no_repetition() -> None:
    rng = np.random.default_rng(0)
    pool = ["it was good", "it was bad", "it was good ", "it was good", "seen in the real rows", "alone"]
    labels = ["pos", "neg", "neg", "pos", "neg", "pos"]
    real, of_real = ["seen in the real rows", "unlike any"], ["pos", "neg"]
    vectors = rng.normal(size=(6, 64)).astype("f4")
    vectors[1] = vectors[0]
    found = find_copies((pool, vectors), (real, vectors[4:]), labels=(labels, of_real))
    assert found.kind.tolist() == [NONE, NONE, NONE, EXACT, NONE, NONE]
    assert found.conflict.tolist() == [True, False, True, True, True, False]
    assert "conflicting labels: 4 rows" in " ".join(found.remarks(lambda row: row))
    assert find_copies((pool, vectors), (real, vectors[4:])).kind[2] == EXACT


def test_vectors_alone_are_copies_where_they_are_equal() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(5, 4)).astype("f4")
    pool = np.concatenate([rng.normal(size=(6, 4)).astype("f4"), real[2:3]])
    pool[4] = pool[1]
    found = find_copies((None, pool), (None, real))
    assert found.kind.tolist() == [NONE, NONE, NONE, NONE, EXACT, NONE, NONE]
    assert found.leak.tolist() == [-1] * 6 + [2]


def test_cells_find_nearly_what_all_pairs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 48))
    vectors = (centres[rng.integers(40, size=4_000)] + rng.normal(size=(4_000, 48))).astype("f4")
    vectors[2_000:] = vectors[:2_000] + 0.05 * rng.normal(size=(2_000, 48))
    texts, real = [f"text number{i}" for i in range(4_000)], (["none"], vectors[:1])
    whole = find_copies((texts, vectors), real)
    monkeypatch.setattr(copies, "_ALL_PAIRS", 512)
    monkeypatch.setattr(copies, "_CELL", 256)
    parted = find_copies((texts, vectors), real)
    assert np.count_nonzero(whole.kind == SEMANTIC) >= 1_990
    assert np.count_nonzero(parted.kind == SEMANTIC) >= 0.95 * np.count_nonzero(whole.kind == SEMANTIC)
