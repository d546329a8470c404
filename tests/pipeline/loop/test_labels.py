"""Judges and students of labels: believed when they know something, and not when they do not."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from synalign_jax.llm.driver import Job, Outcome
from synalign_jax.llm.protocol import BadAnswer, ChatRequest, ChatResponse, Choice, Usage
from synalign_jax.pipeline.asking.prompts import load_prompts
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.loop.chance import beats_chance
from synalign_jax.pipeline.loop.checks import Checks
from synalign_jax.pipeline.loop.judge import FAILS, UNANSWERED, Judge
from synalign_jax.pipeline.loop.student import StudentCheck, student_of
from synalign_jax.pipeline.loop.till import Till

TEXTS = [f"{'good' if i % 2 else 'bad'} film number {i}" for i in range(40)]
LABELS = ["positive" if i % 2 else "negative" for i in range(40)]


def _config() -> Config:
    return parse_config(
        {
            "run": {"folder": "x"},
            "data": {"source": "y"},
            "llm": {"base_url": "http://127.0.0.1:1", "model": "m"},
            "reason": {"preset": "sst2"},
        }
    )


def _judge(answer) -> Judge:
    """A judge whose endpoint answers each text by `answer`; None fails the request, ... ends the budget."""

    def ask(requests: list[ChatRequest]) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = []
        for request in requests:
            assert request.schema is not None
            lines = request.messages[0].content.splitlines()
            texts = [line.split(". ", 1)[1] for line in lines if line[:1].isdigit()]
            said = [answer(text) for text in texts]
            if ... in said:
                outcomes.append(None)
            elif None in said:
                outcomes.append(Outcome(Job(request), None, None, BadAnswer("nonsense"), False, 1))
            else:
                response = ChatResponse((Choice("", "stop"),), Usage(), "m")
                outcomes.append(Outcome(Job(request), response, {"labels": said}, None, False, 1))
        return outcomes

    config = _config()
    return Judge(config, config.llm, load_prompts(config), ["negative", "positive"], ask)


def _right(text: str) -> str:
    return "positive" if "good" in text else "negative"


def test_a_judge_that_knows_is_used() -> None:
    judge = _judge(_right)
    found = judge.measure(TEXTS, LABELS, np.random.default_rng(0))
    assert (found.usable, found.accuracy, found.rows) == (True, 1.0, 40)
    rows = [{"text": "a good one", "label": "positive"}, {"text": "a bad one", "label": "positive"}]
    assert judge.verdicts(rows, np.zeros((2, 1))) == [(None, None), (FAILS, "negative")]


def test_a_judge_that_says_one_label_always_or_nonsense_is_not_used() -> None:
    rng = np.random.default_rng(1)
    assert not _judge(lambda _: "positive").measure(TEXTS, LABELS, rng).usable
    nonsense = _judge(lambda _: None)
    found = nonsense.measure(TEXTS, LABELS, rng)
    assert (found.usable, found.answered) == (False, 0)
    assert nonsense.verdicts([{"text": "a", "label": "positive"}], np.zeros((1, 1))) == [(UNANSWERED, None)]
    guesses = np.random.default_rng(2)
    assert not _judge(lambda _: guesses.choice(["negative", "positive"])).measure(TEXTS, LABELS, rng).usable


def test_rows_are_not_lost_when_the_budget_ends_before_they_are_judged() -> None:
    judge = _judge(lambda _: ...)
    assert judge.verdicts([{"text": "a", "label": "positive"}], np.zeros((1, 1))) == [(None, None)]


def test_chance_is_what_the_commonest_label_gives() -> None:
    assert not beats_chance(9, ["a"] * 9 + ["b"])
    assert not beats_chance(10, ["a"] * 10)
    assert not beats_chance(0, [])
    assert not beats_chance(12, ["a", "b"] * 10)
    assert beats_chance(18, ["a", "b"] * 10)


def test_a_student_fails_rows_that_lie_among_another_labels() -> None:
    rng = np.random.default_rng(3)
    centers = np.eye(8)[[0, 1]]
    vectors = (np.repeat(centers, 40, axis=0) + 0.1 * rng.normal(size=(80, 8))).astype(np.float32)
    labels = ["a"] * 40 + ["b"] * 40
    student = StudentCheck(vectors, labels, strictness=0.15, key=jax.random.key(0), seed=0)
    assert student.usable
    assert student.accuracy > 0.95
    rows = [{"label": "a"}, {"label": "b"}, {"label": "a"}]
    found = student.verdicts(rows, np.stack([centers[0], centers[0], centers[1]]))
    assert [better for _, better in found] == [None, "a", "b"]
    noise = StudentCheck(
        rng.normal(size=(80, 8)).astype(np.float32), labels, strictness=0.15, key=jax.random.key(0), seed=0
    )
    assert not noise.usable


def _overlapping(rng: np.random.Generator, each: int) -> tuple[np.ndarray, list[str]]:
    vectors = np.repeat(np.eye(8)[[0, 1]], each, axis=0) + 0.9 * rng.normal(size=(2 * each, 8))
    return vectors.astype(np.float32), ["a"] * each + ["b"] * each


def test_a_student_that_knows_decides_each_row_and_one_that_might_not_the_surest_alone() -> None:
    rng = np.random.default_rng(4)
    asked, labels = _overlapping(rng, 200)
    rows = [{"label": label} for label in reversed(labels)]  # each the other's
    failed = {}
    for each in (14, 150):
        real = _overlapping(rng, each)
        auto, all_, some = (
            StudentCheck(*real, strictness=given, key=jax.random.key(0), seed=0).verdicts(rows, asked)
            for given in ("auto", 1.0, 0.15)
        )
        failed[each] = [sum(reason is not None for reason, _ in found) for found in (auto, all_, some)]
    assert failed[14][0] == failed[14][2] < failed[14][1]
    assert failed[150][0] == failed[150][1] > failed[150][2]


def test_rows_of_a_rare_label_pass_and_do_not_keep_the_others_from_being_checked() -> None:
    rng = np.random.default_rng(5)
    vectors, labels = _overlapping(rng, 40)
    vectors = np.concatenate([vectors, np.eye(8, dtype=np.float32)[[2, 2]]])
    student = student_of(_config(), vectors, [*labels, "c", "c"])
    assert student is not None
    assert student.usable
    rows = [{"label": "a"}, {"label": "c"}]
    found = student.verdicts(rows, np.eye(8, dtype=np.float32)[[1, 1]])
    assert [better for _, better in found] == ["b", None]
    assert student_of(_config(), vectors[:42], ["a"] * 40 + ["c"] * 2) is None


@pytest.mark.parametrize(
    ("each", "labels", "used", "said"),
    [
        (3, "ab", False, "fewer than two labels have 5 real rows"),
        (0, "ab", False, "of the labels of 40 of them, which guessing might do as well"),
        (20, "abc", True, "labels with fewer than 5 real rows are not checked: 'c'"),
        (20, "ab", True, None),
    ],
)
def test_what_is_not_checked_is_said(each: int, labels: str, used: bool, said: str | None) -> None:
    vectors = np.repeat(np.eye(8, dtype=np.float32)[: len(labels)], each or 20, axis=0)
    vectors += 0.1 * np.random.default_rng(6).normal(size=vectors.shape).astype(np.float32)
    names = [label for label in labels for _ in range(each or 20)]
    if "c" in labels:
        vectors, names = vectors[: 2 * each + 2], names[: 2 * each + 2]
    if not each:  # halves that do not know of each other
        names = ["a", "b"] * 20
    heard: list[str] = []
    desk: Any = SimpleNamespace(config=_config())
    checks = Checks(desk, names, vectors, between=lambda _: [], judge=None, till=Till(), say=heard.append)
    assert len(list(checks())) == used
    assert len(heard) == (said is not None)
    assert all(said in one for one in heard if said)
