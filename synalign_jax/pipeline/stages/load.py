"""Stage load: real rows in, a few-shot set and a held-out set out.

Writes `few_shot` (what the method may see), `held_out` (what evaluation alone reads) and `fields` (what the
rows are made of, where that is more than one text).
"""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any

import pyarrow as pa

from synalign_jax.pipeline.asking.quotas import quotas
from synalign_jax.pipeline.config import Config, Data
from synalign_jax.pipeline.data.columns import Columns
from synalign_jax.pipeline.data.copies import conflicting
from synalign_jax.pipeline.data.errors import DataError, listed
from synalign_jax.pipeline.data.fields import PLAIN, Fields, fields_of, template_of
from synalign_jax.pipeline.data.sources import Rows, load_file, load_source
from synalign_jax.pipeline.data.values import SEPARATOR, labels_in
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.seeds import generator
from synalign_jax.pipeline.tools import Tools

ROWS = pa.schema([("text", pa.string()), ("label", pa.string())])
HELD_OUT = ROWS.append(pa.field("part", pa.string()))


def fields_in(view: StageView) -> Fields:
    """What the rows of the run are made of; a folder that does not say so has rows of one text."""
    try:
        return Fields.of_plain(view.read_json("fields"))
    except FileNotFoundError:
        return PLAIN


def with_fields(schema: pa.Schema, fields: Fields) -> pa.Schema:
    """The schema with the columns of the fields behind text and label."""
    place = schema.get_field_index("label") + 1
    for number, field in enumerate(fields.fields):
        schema = schema.insert(place + number, pa.field(field.column, pa.string()))
    return schema


UNLABELLED = ""
"""The label of every row when the texts have no labels."""

_FEWEST = 10
_FLOOR = 4


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Read the source, clean it, split it.

    Raises:
        DataError: what `load_source` raises; an unknown label; too few rows, or a label with a single one.
    """
    data = config.data
    label = data.label or None
    template = template_of(data.text, data.fields)
    named = frozenset({"text"} if template != "text" else ())
    columns = Columns(template, label, named=named, multi_label=data.multi_label, encoding=data.file_encoding)
    source = load_source(data.source, columns, subset=data.subset)
    if data.fields and source.rows.fields is None:
        raise DataError(f"[data.fields]: {data.source} has texts alone, and no columns {listed(data.fields)}")
    for remark in source.rows.said:
        view.warn(remark)
    rows = _clean(view, source.rows, data)
    if data.multi_label:
        rows = _without_rare(view, rows, data.source)
    test = source.test
    if data.test is not None:
        test = load_file(data.test, columns)
    counts = Counter(rows.labels)
    _check_counts(rows, counts, data)
    rng = generator(config.run.seed, "load")
    order = rng.permutation(len(rows)).tolist()
    if test is None:
        wanted = min(data.test_rows, len(rows) // 4)
        # Two rows of every label stay behind: the method cannot do with fewer.
        caps = {name: max(count - 2, 0) for name, count in counts.items()}
        test_indices, order = _draw(rows, order, quotas(counts, wanted, floor=1, caps=caps))
        held = rows.take(test_indices)
    else:
        held = _clean(view, test, data, seen=set(rows.texts), what="test rows")
        if len(held) > data.test_rows:
            held = held.take(sorted(rng.permutation(len(held))[: data.test_rows].tolist()))
    left = Counter(rows.labels[i] for i in order) if rows.labels else Counter()
    few_indices, order = _draw(
        rows, order, quotas(left, min(data.few_shot, len(order)), floor=_FLOOR, caps=left)
    )
    few_shot = rows.take(few_indices)
    rest = rows.take(order[: data.ceiling_rows])
    if len(few_shot) < data.few_shot:
        view.warn(
            f"{len(few_shot)} rows are left for the few-shot set after {len(held)} were held out;"
            f" [data] few_shot asked for {data.few_shot}"
        )
    fields = _fields(data, few_shot)
    texts = [field.name for field in fields.fields if field.name in rows.chats and not field.roles]
    if (fields and texts) or (rows.chats and not fields):
        view.warn(
            f"some rows of {listed(sorted(rows.chats))} are texts and not turns, so new ones are written as"
            " texts"
        )
    view.write_json("fields", fields.plain())
    view.write_rows("few_shot", _records(few_shot, fields), with_fields(ROWS, fields))
    view.write_rows(
        "held_out",
        [{**row, "part": "test"} for row in _records(held, PLAIN)]
        + [{**row, "part": "rest"} for row in _records(rest, PLAIN)],
        HELD_OUT,
    )
    if fields:
        view.facts["fields"] = fields.names
    view.facts.update(
        source=data.source,
        real_rows=len(rows),
        few_shot=len(few_shot),
        test=len(held),
        rest=len(rest),
        labels=dict(sorted(Counter(few_shot.labels or []).items())),
        text=rows.template or data.text,
        remarks=list(source.rows.said),
    )


def _fields(data: Data, rows: Rows) -> Fields:
    if rows.fields is None:
        return PLAIN
    found = fields_of(rows.template, data.fields, rows.fields, rows.chats)
    by_layout = template_of(data.text, data.fields) == "text"
    if by_layout and len(found.fields) == 1 and not found.fields[0].roles:
        return PLAIN  # a column of another name is the text
    return found


def _records(rows: Rows, fields: Fields) -> list[dict[str, Any]]:
    values = [fields.columns(row) for row in rows.fields] if fields and rows.fields else [{}] * len(rows)
    return [
        {"text": text, "label": label, **own}
        for text, label, own in zip(rows.texts, rows.labels or [], values, strict=True)
    ]


def _clean(
    view: StageView, rows: Rows, data: Data, *, seen: set[str] | None = None, what: str = "real rows"
) -> Rows:
    """Rename and keep labels, drop blank and repeated texts, cut overlong ones; count all of it aloud."""
    labels, wanted = _renamed(rows, data)
    # A text that stands in both the few-shot and the held-out set would make the evaluation lie.
    seen = set() if seen is None else set(seen)
    texts: list[str] = []
    kept: list[str] = []
    places: list[int] = []
    blank = repeated = cut = 0
    for place, (text, label) in enumerate(zip(rows.texts, labels, strict=True)):
        if not wanted[place]:
            continue
        if not text.strip():
            blank += 1
            continue
        if len(text) > data.max_characters:
            text = text[: data.max_characters]
            cut += 1
        if text in seen:
            repeated += 1
            continue
        seen.add(text)
        texts.append(text)
        kept.append(label)
        places.append(place)
    if cut:
        view.warn(f"{cut} of the {what} were cut to {data.max_characters} characters ([data] max_characters)")
    if blank:
        view.warn(f"{blank} of the {what} have no text and were left out")
    if repeated:
        view.warn(f"{repeated} of the {what} repeat an earlier text and were left out")
    if conflicts := int(conflicting(rows.texts, labels).sum()):
        view.warn(
            f"conflicting labels: {conflicts} of the {what} have a text that another one has under another"
            " label; the first of each counts"
        )
    if len(texts) == 1 and repeated:
        raise DataError(f"{data.source}: all {what} are identical; there is nothing to learn from one text")
    fields = None if rows.fields is None else [rows.fields[place] for place in places]
    return Rows(texts, kept, fields, template=rows.template, chats=rows.chats)


def _renamed(rows: Rows, data: Data) -> tuple[list[str], list[bool]]:
    """The labels as [data] label_names has them, and which rows have no other than those of [data] labels."""
    labels = rows.labels or [UNLABELLED] * len(rows)
    sets = [labels_in(label) if data.multi_label else (label,) for label in labels]
    _check_known(data.label_names, [label for each in sets for label in each], "label_names")
    sets = [tuple(sorted({data.label_names.get(label, label) for label in each})) for each in sets]
    if data.labels is not None:
        _check_known(data.labels, [label for each in sets for label in each], "labels")
    kept = [data.labels is None or set(each) <= set(data.labels) for each in sets]
    return [SEPARATOR.join(each) for each in sets], kept


def _without_rare(view: StageView, rows: Rows, source: str) -> Rows:
    """Without the rows whose combination of labels no other row has: nothing can be learnt of it."""
    counts = Counter(rows.labels)
    kept = [i for i, label in enumerate(rows.labels or []) if counts[label] > 1]
    if not kept and len(rows):
        raise DataError(
            f"{source}: each of the {len(rows):,} rows has a combination of labels that no other has; keep"
            " fewer labels ([data] labels), or take one a row"
        )
    if len(kept) < len(rows):
        view.warn(f"{len(rows) - len(kept)} rows have a combination of labels of their own and were left out")
    return rows.take(kept)


def _check_known(names, labels: list[str], setting: str) -> None:
    known = sorted(set(labels))
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            raise DataError(
                f"[data] {setting}: the data has no label '{name}'{hint} It has {', '.join(known[:20])}"
            )


def _check_counts(rows: Rows, counts: Counter[str], data: Data) -> None:
    if len(rows) < _FEWEST:
        raise DataError(f"{data.source}: {len(rows)} usable real rows; at least {_FEWEST} are needed")
    single = sorted(label for label, count in counts.items() if count < 2)
    if single:
        others = [label for label in sorted(counts) if label not in single]
        if not others:
            raise DataError(
                f"{data.source}: no two rows have the same label; name the column of the labels with [data]"
                ' label, or say that there are none with label = ""'
            )
        raise DataError(
            f"{data.source}: only one row has the label '{single[0]}'; add rows of it, or leave it out with"
            f" [data] labels = {others[:20]}"
        )


def _draw(rows: Rows, order: list[int], wanted: dict[str, int]) -> tuple[list[int], list[int]]:
    """The first `wanted` rows of every label in `order`, and what is left of it."""
    taken, left = [], []
    open_places = dict(wanted)
    for index in order:
        label = rows.labels[index] if rows.labels else UNLABELLED
        if open_places[label] > 0:
            open_places[label] -= 1
            taken.append(index)
        else:
            left.append(index)
    return taken, left
