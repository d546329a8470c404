"""The tasks and pools of the study: texts and labels from installed packages and from a `--data` folder.

The folder holds published files under these names: `sst2/SST-2_{train,test}.tsv` and
`agnews/agnews_{dev,test}.tsv` (github.com/forest-snow/alps), `pools/fewgen_sst2_seed*.json`
(github.com/yumeng5/FewGen) and `pools/imdb_*.jsonl` (FuseGen, EMNLP 2024: six LLMs). None of them comes with
this project.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from benchmarks import _pools

FEWGEN = tuple(f"fewgen_{seed}" for seed in (13, 21, 42, 87))
LLMS = (
    "gpt-3.5-turbo-instruct",
    "llama-2-7b-chat-hf",
    "opt-6.7b",
    "gpt2-xl",
    "flan-t5-xl",
    "chatglm3-6b-base",
)
IMDB = tuple(f"imdb_{name}" for name in LLMS)


@dataclass(frozen=True)
class Rows:
    """Labelled texts under a name; `max_tokens` is how much of each the frozen encoder reads."""

    name: str
    texts: list[str]
    labels: list[str]
    max_tokens: int

    def __len__(self) -> int:
        return len(self.texts)


def rows(name: str, data: Path | None) -> Rows:
    """Rows in a fixed random order.

    Raises:
        SystemExit: a file or package that is not there; the message says where it comes from.
    """
    read, max_tokens = _SOURCES[name]
    texts, labels = zip(*read(data), strict=True)
    return Rows(name, list(texts), [str(label) for label in labels], max_tokens)


def _shuffled(
    found: Sequence[tuple[str, str]], start: int = 0, stop: int | None = None
) -> list[tuple[str, str]]:
    found = list(found)
    random.Random(0).shuffle(found)
    return found[start:stop]


def _file(data: Path | None, name: str) -> Path:
    path = None if data is None else data / name
    if path is None or not path.is_file():
        raise SystemExit(
            f"{name} is needed; give a folder with it as --data (benchmarks/study/data.py says whence)"
        )
    return path


def _tsv(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.rsplit("\t", 1) for line in lines if "\t" in line]
    return [(text.strip(), label.strip()) for text, label in pairs]


def _sst2_test(data: Path | None) -> list[tuple[str, str]]:
    return _tsv(_file(data, "sst2/SST-2_test.tsv"))[1:]


def _sst2_train(data: Path | None) -> list[tuple[str, str]]:
    """Phrases of six words or more that are part of no test sentence."""
    test = " || ".join(text for text, _ in _sst2_test(data))
    found = dict(_tsv(_file(data, "sst2/SST-2_train.tsv"))[1:])
    return _shuffled([(t, y) for t, y in found.items() if len(t.split()) >= 6 and t not in test], 0, 4_000)


def _fewgen(seed: str, data: Path | None) -> list[tuple[str, str]]:
    found = json.loads(_file(data, f"pools/fewgen_sst2_seed{seed}.json").read_text(encoding="utf-8"))
    return _shuffled([(row.get("text", row.get("text1")), row["label"]) for row in found], 0, 3_000)


def _imdb_pool(llm: str, data: Path | None) -> list[tuple[str, str]]:
    """There 0 is positive; here, as in the real rows, 1 is."""
    lines = _file(data, f"pools/imdb_{llm}.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line.strip()]
    return _shuffled([(r["C"], str(1 - int(r["Y"]))) for r in found if r["C"] and r["C"].strip()], 0, 3_000)


@cache
def _reviews(source: str) -> tuple[tuple[str, str], ...]:
    codes = {"positive": "1", "negative": "0"}
    found = [
        (r["text"], codes.get(r["label"], r["label"])) for r in _pools._movies() if r["source"] == source
    ]
    return tuple(_shuffled(found))


def _reviews_of(source: str, start: int, stop: int, _: Path | None) -> list[tuple[str, str]]:
    return list(_reviews(source)[start:stop])


def _agnews(part: str, count: int, data: Path | None) -> list[tuple[str, str]]:
    return _shuffled(_tsv(_file(data, f"agnews/agnews_{part}.tsv")), 0, count)


def _installed(name: str, _: Path | None) -> list[tuple[str, str]]:
    found = zip(_pools.texts(name), _pools.labels(name), strict=True)
    return [(text, str(label)) for text, label in found if label][:4_000]


_Read = Callable[[Path | None], list[tuple[str, str]]]
_SOURCES: dict[str, tuple[_Read, int]] = {
    "sst2_train": (_sst2_train, 64),
    "sst2_test": (_sst2_test, 64),
    **{name: (partial(_fewgen, name.removeprefix("fewgen_")), 64) for name in FEWGEN},
    "imdb_train": (partial(_reviews_of, "imdb", 2_000, 5_000), 128),
    "imdb_test": (partial(_reviews_of, "imdb", 0, 2_000), 128),
    **{name: (partial(_imdb_pool, name.removeprefix("imdb_")), 128) for name in IMDB},
    "agnews_dev": (partial(_agnews, "dev", 4_000), 96),
    "agnews_test": (partial(_agnews, "test", 2_000), 96),
    "rotten_tomatoes": (partial(_reviews_of, "rotten_tomatoes", 0, 3_000), 64),
    "tweets": (partial(_installed, "tweets"), 96),
    "reuters": (partial(_installed, "reuters"), 96),
    "newsgroups": (partial(_installed, "newsgroups"), 96),
}
NAMES = tuple(_SOURCES)
