"""What the replayed A/B test counts: a lift is worth what these are."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from benchmarks.retrieval import cranfield, writer
from benchmarks.retrieval.ranking import ndcg, recall
from benchmarks.retrieval.sessions import _draft, interleaved

RNG = np.random.default_rng(0)


def test_ndcg_is_that_of_scikit_learn() -> None:
    ranked = np.array([RNG.permutation(40) for _ in range(20)])
    relevant = [RNG.choice(40, RNG.integers(1, 15), replace=False) for _ in range(20)]
    gains = np.array([np.isin(np.arange(40), some) for some in relevant], float)
    scores = -np.argsort(ranked, axis=1).astype(float)
    assert ndcg(ranked, relevant) == pytest.approx(ndcg_score(gains, scores, k=10))


def test_recall_is_the_share_of_answers_near_the_top() -> None:
    assert recall(np.array([[3, 1, 0, 2]]), [np.array([3, 2])], depth=2) == 0.5


def test_a_draft_shows_no_result_twice_and_as_many_of_both() -> None:
    for _ in range(50):
        shown, of_b = _draft(RNG.permutation(30), RNG.permutation(30), RNG)
        assert len(set(shown.tolist())) == len(shown) == 10
        assert of_b.sum() == 5


def test_equal_rankings_have_no_lift_and_a_better_one_is_seen() -> None:
    ranked = np.array([RNG.permutation(60) for _ in range(30)])
    relevant = [row[:4] for row in ranked]
    same = interleaved(ranked, ranked, relevant, RNG, each=100)
    assert same.low < 0 < same.high
    worse = ranked[:, ::-1]
    better = interleaved(worse, ranked, relevant, RNG, each=100)
    assert better.low > 0.5
    assert better.sessions < 50
    assert interleaved(ranked, worse, relevant, RNG, each=100).high < -0.5


def test_the_collection_is_read_by_its_order(tmp_path: Path) -> None:
    texts = {
        "cran.all.1400.xml": "".join(
            f"<doc><docno>{i}</docno><title>title\n{i} .</title><text>title\n{i} .\n  text {i} .</text></doc>"
            for i in (1, 2, 3)
        ),
        "cran.qry.xml": "".join(f"<top><num> {n}</num><title>\nwhat {n} .\n</title></top>" for n in (1, 4)),
        "cranqrel.trec.txt": "1 0 2 1\n1 0 3 0\n2 0 1 3\n2 0 3 1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    data = cranfield.load(tmp_path)
    assert data.titles == ["title 1 .", "title 2 .", "title 3 ."]
    assert data.passages[1] == "text 2 ."
    assert data.questions == ["what 1 .", "what 4 ."]
    assert [found.tolist() for found in data.relevant] == [[1], [0, 2]]


def test_the_writer_gives_each_kind_its_share() -> None:
    titles = [f"flow number {i} ." for i in range(12)]
    passages = [f"first sentence {i} . then some words on flow {i} and drag ." for i in range(12)]
    pairs = writer.write(titles, passages, 120, np.random.default_rng(1))
    assert np.bincount(pairs.kinds).tolist() == [20] * len(writer.KINDS)
    asked = [q for q, kind in zip(pairs.questions, pairs.kinds, strict=True) if writer.KINDS[kind] == "title"]
    assert set(asked) <= {title.rstrip(" .") for title in titles}
    for question, passage, kind in zip(pairs.questions, pairs.passages, pairs.kinds, strict=True):
        if writer.KINDS[kind] == "of another passage":
            assert not question.endswith(f" {passage} .")
