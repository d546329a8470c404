"""The Cranfield collection: abstracts, real questions, and which abstracts answer them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_DOCUMENT = re.compile(r"<doc>(.*?)</doc>", re.DOTALL)
_QUESTION = re.compile(r"<top>.*?<title>(.*?)</title>.*?</top>", re.DOTALL)


@dataclass(frozen=True)
class Cranfield:
    """`titles`, `passages` and `questions` are texts; `relevant[q]` are the passages that answer one."""

    titles: list[str]
    passages: list[str]
    questions: list[str]
    relevant: list[np.ndarray]


def load(folder: Path) -> Cranfield:
    """Judged as the file says: 1 and more is relevant. A question's number is its place, not `num`."""
    titles, passages = [], []
    for document in _DOCUMENT.findall((folder / "cran.all.1400.xml").read_text(encoding="utf-8")):
        title, text = (_words(_tag(document, name)) for name in ("title", "text"))
        titles.append(title)
        # The abstract begins with its own title.
        passages.append(text.removeprefix(title).strip() or title)
    questions = [_words(q) for q in _QUESTION.findall((folder / "cran.qry.xml").read_text(encoding="utf-8"))]
    relevant: list[set[int]] = [set() for _ in questions]
    for line in (folder / "cranqrel.trec.txt").read_text(encoding="utf-8").splitlines():
        question, _, passage, grade = line.split()
        if int(grade) >= 1 and int(passage) <= len(passages):
            relevant[int(question) - 1].add(int(passage) - 1)
    return Cranfield(titles, passages, questions, [np.array(sorted(found), int) for found in relevant])


def _tag(document: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", document, re.DOTALL)
    return found.group(1) if found else ""


def _words(text: str) -> str:
    return " ".join(text.split())
