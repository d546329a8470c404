"""Labels of one meaning in several spellings, within a file and between two."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from .errors import DataError, listed
from .values import WORDS_FOR_NOTHING, bare, label_of

_TRUTH = {"true", "false"}
_MISSING = WORDS_FOR_NOTHING | {"na", "-", "--", "?", ".", "missing", "undefined"}
_BETWEEN = "|;,"
_FEW = 10  # rows of which each may have a label of its own
_NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d*)?(?:e[+-]?\d{1,3})?", re.IGNORECASE | re.ASCII)


def settle_labels(name: str, labels: list[str]) -> tuple[list[str], list[str]]:
    """The labels of a file with truth values in one spelling, and what to say of those that look alike."""
    counts = Counter(labels)
    said = []
    if len(counts) <= 4 and all(label.casefold() in _TRUTH for label in counts):
        labels = [label.casefold() for label in labels]
        counts = Counter(labels)
    alike = defaultdict(list)
    for label in counts:
        alike[_folded(label)].append(label)
    for group in alike.values():
        if len(group) > 1:
            each = ", ".join(f"'{label}' ({counts[label]:,} rows)" for label in sorted(group))
            said.append(f"{name}: the labels {each} are alike but for case, spaces or accents; kept apart")
    numbers = defaultdict(list)
    for label in counts:
        if _NUMBER.fullmatch(label):
            numbers[Decimal(label.replace(",", ""))].append(label)
    for group in numbers.values():
        if len(group) > 1:
            said.append(f"{name}: the labels {listed(sorted(group))} are one number as text; kept apart")
    for label, count in counts.items():
        if label.casefold() in _MISSING:
            said.append(f"{name}: {count:,} rows have the label '{label}', which looks like a missing value")
    if len(labels) >= _FEW and 2 * len(counts) > len(labels):
        said.append(f"{name}: {len(counts):,} labels for {len(labels):,} rows; is the column one of labels?")
    if several := next(filter(partial(_holds_several, known=counts), counts), None):
        said.append(
            f"{name}: the label '{several}' looks like several; if rows have several labels, say so with"
            " --multi-label ([data] multi_label)"
        )
    return labels, said


def _holds_several(label: str, known: Collection[str]) -> bool:
    """Whether a label is written as a list, or made of others that stand alone elsewhere."""
    if label.startswith("[") and label.endswith("]"):
        return True
    return any(sign in label and all(bare(part) in known for part in label.split(sign)) for sign in _BETWEEN)


def cut_labels(
    name: str, cells: Sequence[tuple[str, ...] | str], marks: Sequence[str] = ()
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The labels of rows that may have several, and what to say of them.

    Args:
        cells: what `values.labels_of` gave. Texts are cut at bars, semicolons or commas: at the first of
            these that any of them holds, so that a comma inside a label stays in it where bars stand between.
        marks: the columns that are a label each, where that is how labels are given.
    """
    texts = [cell for cell in cells if isinstance(cell, str)]
    sign = next((sign for sign in _BETWEEN if any(sign in text for text in texts)), None)
    sets = []
    for cell in cells:
        if isinstance(cell, str):
            parts = cell.split(sign) if sign else [cell]
            cell = tuple(sorted({label_of(name, "label", part) for part in parts if bare(part)}))
        sets.append(cell)
    said = [] if sign is None else [f"{name}: the labels of a row are cut at '{sign}'"]
    several, none = sum(len(labels) > 1 for labels in sets), sum(not labels for labels in sets)
    said.append(
        f"{name}: {several:,} rows have several labels, {none:,} have none; {len(set(sets)):,} combinations"
    )
    given = [label for labels in sets for label in labels]
    if never := sorted(set(marks) - set(given)):
        said.append(f"{name}: no row has the label {listed(never, 6)}: there are only zeros")
    return sets, said + settle_labels(name, given)[1]


def match_label_sets(
    real: tuple[str, Sequence[tuple[str, ...]]],
    pool: tuple[str, Sequence[tuple[str, ...]]],
    class_names: Sequence[str] = (),
) -> tuple[list[tuple[str, ...]], list[str]]:
    """`match_labels` for rows of several labels. A label that one side lacks is said, and no error.

    Raises:
        DataError: no label stands on both sides.
    """
    (real_name, of_real), (pool_name, of_pool) = real, pool
    known, made = (Counter(label for labels in side for label in labels) for side in (of_real, of_pool))
    spelled, said = _spelled((real_name, known), (pool_name, made), class_names)
    sets = [tuple(sorted({spelled.get(label, label) for label in labels})) for labels in of_pool]
    made = Counter(label for labels in sets for label in labels)
    if known and not known.keys() & made.keys():
        raise DataError(
            f"{pool_name}: none of its labels ({listed(sorted(made), 6)}) is a label of {real_name}"
            f" ({listed(sorted(known), 6)}); spell them alike, or compare without labels (--no-labels)"
        )
    for name, has, other, lacks in ((real_name, known, pool_name, made), (pool_name, made, real_name, known)):
        if alone := sorted(label for label in has if label not in lacks):
            said.append(f"{name}: no row of {other} has its labels {listed(alone, 5)}")
    return sets, said


def class_named(value: Any, names: Sequence[str]) -> Any:
    """The name of a class number, or of each in a list; None, a missing value, for -1."""
    if isinstance(value, list):
        return [class_named(part, names) for part in value]
    if not isinstance(value, int):
        return value
    return None if value == -1 else names[value] if 0 <= value < len(names) else value


def said_of_classes(name: str, names: Sequence[str]) -> str:
    """That the labels are the names which the file, or the data set, has for its numbers."""
    some = ", ".join(f"{number} is '{label}'" for number, label in enumerate(names[:5]))
    return f"{name}: labels by the names in the file: {some}" + ", ..." * (len(names) > 5)


def match_labels(
    real: tuple[str, Sequence[str]], pool: tuple[str, Sequence[str]], class_names: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The pool's labels in the spelling of the real rows, and what to say of the change.

    Args:
        real, pool: name of the file, and its labels.
        class_names: what the numbers 0, 1, ... stand for by one of the files, where the other has numbers.

    Raises:
        DataError: a label of the real rows that the pool lacks, with those that it has.
    """
    (real_name, of_real), (pool_name, of_pool) = real, pool
    known, made = Counter(of_real), Counter(of_pool)
    spelled, said = _spelled((real_name, known), (pool_name, made), class_names)
    labels = [spelled.get(label, label) for label in of_pool]
    made = Counter(labels)
    missing = sorted(label for label in known if label not in made)
    if missing:
        raise DataError(
            f"{pool_name}: no row has the label {listed(missing, 6)} of {real_name}; its labels are"
            f" {listed(sorted(made), 6)}. Spell them alike, generate rows of the label, leave its rows out of"
            f" {real_name}, or compare without labels (--no-labels)"
        )
    surplus = sorted(label for label in made if label not in known)
    if surplus:
        count = sum(made[label] for label in surplus)
        said.append(
            f"{pool_name}: {count:,} rows have a label that no row of {real_name} has ({listed(surplus, 5)});"
            " their weight is 0"
        )
    return labels, said


def _folded(label: str) -> str:
    """Alike are labels that differ by case, spaces, or the way their accents are encoded."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _spelled(
    real: tuple[str, Counter[str]], pool: tuple[str, Counter[str]], class_names: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The pool's labels that the real rows spell otherwise, as these do, and what to say of it."""
    (real_name, known), (pool_name, made) = real, pool
    folded = defaultdict(list)
    for label in known:
        folded[_folded(label)].append(label)
    spelled = {
        label: folded[_folded(label)][0]
        for label in made
        if label not in known and len(folded[_folded(label)]) == 1
    }
    said = []
    if not known.keys() & made.keys():
        numbers = {str(number): name for number, name in enumerate(class_names)}
        either_way = numbers | {name: number for number, name in numbers.items()}
        spelled |= {label: either_way[label] for label in made if either_way.get(label) in known}
    if spelled:
        some = ", ".join(f"'{old}' as '{new}'" for old, new in sorted(spelled.items())[:5])
        said.append(f"{pool_name}: labels are read in the spelling of {real_name}: {some}")
    return spelled, said
