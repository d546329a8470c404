"""What is a pool worth beside real rows? Students, distances and measures for any two sets of rows."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synalign_jax.core.checks import InputError, are_label_sets, check_prng_key, check_rows, check_weights
from synalign_jax.core.effective import effective_rows
from synalign_jax.core.mmd.two_sample import two_sample_test

from .measures.copying import copying, keys, overlap
from .measures.halves import Side, measure
from .metrics import compare_training_sets
from .result import Distances, Evaluation, Share
from .scores import Comparison
from .training_sets import LabelledSet, label_array, training_sets
from .tuned import compare_tuned

STUDENTS = ("linear", "mlp", "encoder")
_LEAST_HALVES = 8
_MAX_VALUES = 50


def evaluate(
    real: Any,
    pool: Any,
    *,
    key: Any,
    real_labels: Any = None,
    pool_labels: Any = None,
    weights: Any = None,
    test: Any = None,
    test_labels: Any = None,
    real_texts: Sequence[str] | None = None,
    pool_texts: Sequence[str] | None = None,
    test_texts: Sequence[str] | None = None,
    attributes: Mapping[str, tuple[Any, Any]] | None = None,
    students: Sequence[str] = ("linear", "mlp"),
    encoder: Any = None,
    overlapping: str = "refuse",
    seeds: int = 16,
    splits: int = 5,
    confidence: float = 0.95,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Compare a pool of synthetic rows, from anywhere, with real rows.

    *Students* are trained on the real rows, on the pool, and on both, and scored on real test rows; without
    test rows a random third of the real rows is set aside for them, and the students see the others.
    *Distance*: MMD^2 with what chance gives, and a permutation test. *Measures* of likeness, variety and
    wording are all taken at equal sizes, with what a half of the real rows scores against the other as the
    yardstick (`docs/evaluation.md` says what each tells). *Copying* counts rows that are real rows again.

    Args:
        real: (n, width) embeddings of the real rows.
        pool: (m, width) of the synthetic rows.
        key: decides what is set aside, halves, draws and starts.
        real_labels, pool_labels: strings or integers, given both or not at all; students need them. Rows that
            may have several have a tuple, list or set each: then students say yes or no to each label.
        weights: (m,). Weights that sum to 1, as those of `align`, are shares: the pool then counts for as
            many rows as are effective. Others, as those of `mix`, are on the scale on which a real row
            counts 1.
        test, test_labels: real rows that nothing was trained, chosen or weighed on. Distances are then to
            them.
        real_texts, pool_texts, test_texts: for wording, copied passages and the encoder that is fine-tuned.
        attributes: name -> (value of each real row, of each pool row), whose shares are compared.
        students: of "linear", "mlp" (on the embeddings) and "encoder" (fine-tuned on the texts: minutes).
        encoder: what "encoder" fine-tunes; a `synalign_jax.text.Encoder`.
        overlapping: what to do with training rows that are test rows, case and punctuation aside: "refuse",
            or "drop" them from the training rows.
        seeds: students behind each interval.
        splits: random halves behind each measure.
        confidence: of the intervals.
        on_progress: called with a part of the work, how much of it is done and how much there is.

    Raises:
        InputError: bad arrays, labels or weights (the row is named), weights that are all 0, test rows that
            are training rows, a test of one class, an unknown student.
    """
    tell = on_progress or (lambda *_: None)
    check_prng_key(key)
    check_rows("real", real, min_rows=2)
    check_rows("pool", pool, min_rows=2, width=real.shape[1])
    _check(real, pool, real_labels, pool_labels, weights, test, test_labels, students, overlapping)
    for name, rows, texts in (
        ("real", real, real_texts),
        ("pool", pool, pool_texts),
        ("test", test, test_texts),
    ):
        if texts is not None and (rows is None or len(texts) != len(rows)):
            raise InputError(f"{name}_texts: {len(texts)} texts for {0 if rows is None else len(rows)} rows")
    if "encoder" in students and (encoder is None or real_texts is None or pool_texts is None):
        raise InputError("students: 'encoder' needs encoder=, real_texts= and pool_texts=")
    notes: list[str] = []
    given = None if weights is None else np.asarray(weights, np.float64)
    test_key, split_key, distance_key, weight_key, student_key = jax.random.split(key, 5)
    trained = (Side(real, real_texts), Side(pool, pool_texts))
    kept = [np.ones(len(real), bool), np.ones(len(pool), bool)]
    if test is not None:
        kept = _without_overlap(trained, Side(test, test_texts), overlapping, notes)

    distances = _distances(real, pool, given, test, (distance_key, weight_key), notes)
    measures = ()
    if min(len(real), len(pool)) < _LEAST_HALVES:
        notes.append(f"likeness and variety are not measured: they need {_LEAST_HALVES} rows on each side")
    else:
        step = _counted(tell, "measures", splits)
        measures = measure(
            trained[0], Side(pool, pool_texts, given), key=split_key, splits=splits, on_progress=step
        )
    compared: dict[str, Comparison] = {}
    if real_labels is not None and pool_labels is not None and students:
        sets, testing = training_sets(
            trained, (label_array(real_labels), label_array(pool_labels)), given, kept,
            None if test is None else (Side(test, test_texts), label_array(test_labels)), test_key, notes,
        )  # fmt: skip
        if sets:
            for head in students:
                step = _counted(tell, f"{head} students", len(sets))
                compared[head] = _compare(head, sets, testing, student_key, encoder, seeds, confidence, step)
    elif students:
        notes.append("students are not trained: they need labels of the real rows and of the pool")
    return Evaluation(
        real_rows=len(real),
        pool_rows=len(pool),
        effective_rows=None if given is None else effective_rows(given),
        students=compared,
        distances=distances,
        measures=measures,
        copying=copying(np.asarray(real), np.asarray(pool), real_texts, pool_texts),
        shares=_shares(real_labels, pool_labels, attributes, given, notes),
        notes=tuple(notes),
    )


def _check(
    real: Any, pool: Any, real_labels: Any, pool_labels: Any, weights: Any, test: Any, test_labels: Any,
    students: Sequence[str], overlapping: str,
) -> None:  # fmt: skip
    for name in students:
        if name not in STUDENTS:
            raise InputError(f"students: {name!r}; choose of {', '.join(STUDENTS)}")
    if overlapping not in ("refuse", "drop"):
        raise InputError(f"overlapping: {overlapping!r}; choose 'refuse' or 'drop'")
    if (real_labels is None) != (pool_labels is None):
        raise InputError("labels: given for one side only; give real_labels and pool_labels, or neither")
    for name, rows, labels in (("real", real, real_labels), ("pool", pool, pool_labels)):
        if labels is not None and len(labels) != len(rows):
            raise InputError(f"{name}_labels: {len(labels)} labels for {len(rows)} rows")
    given = [labels for labels in (real_labels, pool_labels, test_labels) if labels is not None]
    if len({are_label_sets(labels) for labels in given}) > 1:
        raise InputError("labels: sets of labels on one side and single ones on another; give one kind")
    if given and are_label_sets(given[0]) and "encoder" in students:
        raise InputError("students: 'encoder' learns one label a row; leave it out where rows have several")
    if weights is not None:
        if np.shape(weights) == (len(pool),) and not np.any(np.asarray(weights)):
            raise InputError(
                "weights: all are 0, so nothing of the pool is used and there is nothing to evaluate;"
                " leave the weights out to evaluate the pool as it is"
            )
        check_weights("weights", weights, len(pool))
    if test is None:
        if test_labels is not None:
            raise InputError("test_labels: given without test; give the test rows, too")
        return
    check_rows("test", test, width=real.shape[1])
    if real_labels is not None and students:
        if test_labels is None:
            raise InputError("test_labels: missing; students need the labels of the test rows")
        if len(test_labels) != len(test):
            raise InputError(f"test_labels: {len(test_labels)} labels for {len(test)} rows")
        if len(set(label_array(test_labels).tolist())) < 2:
            raise InputError(
                f"test_labels: all rows are {test_labels[0]!r}; a score over one class says nothing: give"
                " test rows of every class"
            )


def _counted(tell: Callable[[str, int, int], None], what: str, total: int) -> Callable[[int], None]:
    """To be called after each of `total` pieces of a work, which is told of from its beginning."""
    done = itertools.count(1)
    tell(what, 0, total)
    return lambda _: tell(what, next(done), total)


def _without_overlap(
    trained: tuple[Side, Side], test: Side, overlapping: str, notes: list[str]
) -> list[np.ndarray]:
    """Which training rows are no test rows."""
    kept = []
    for name, side in zip(("real", "pool"), trained, strict=True):
        texts = side.texts is not None and test.texts is not None
        own, others = (keys(s.vectors, s.texts if texts else None) for s in (side, test))
        found = overlap(own, others)
        if found and overlapping == "refuse":
            row, of_test = found[0]
            raise InputError(
                f"test: row {of_test} is row {row} of the {name} rows, too ({len(found)} such): a student"
                " would be asked what it was told. Take them out of one of the two, or drop them from what is"
                " trained on with overlapping='drop' (--drop-overlap)"
            )
        mask = np.ones(len(own), bool)
        mask[[row for row, _ in found]] = False
        if found:
            notes.append(f"{len(found):,} {name} rows are test rows, too, and were not trained on")
        kept.append(mask)
    return kept


def _distances(
    real: Any, pool: Any, weights: np.ndarray | None, test: Any, key: tuple[Any, Any], notes: list[str]
) -> Distances | None:
    target, rows = (
        (real, f"the {len(real):,} real rows") if test is None else (test, f"{len(test):,} test rows")
    )
    if len(target) < 4:
        notes.append("the distance is not measured: it needs 4 real rows")
        return None
    plain = two_sample_test(target, pool, key=key[0])
    weighed = None if weights is None else two_sample_test(target, pool, key=key[1], y_weights=weights)
    if weights is not None and test is None:
        notes.append(
            "weights that were fitted to these real rows look nearer to them than they are; give test rows"
        )

    def band(null: np.ndarray) -> tuple[float, float]:
        low, high = np.quantile(null, [0.05, 0.95])
        return float(low), float(high)

    return Distances(
        pool=plain.mmd2,
        band=band(plain.null),
        p_value=plain.p_value,
        weighted=None if weighed is None else weighed.mmd2,
        weighted_band=None if weighed is None else band(weighed.null),
        weighted_p_value=None if weighed is None else weighed.p_value,
        rows=rows,
    )


def _compare(
    head: str,
    sets: dict[str, LabelledSet],
    test: tuple[Side, np.ndarray],
    key: Any,
    encoder: Any,
    seeds: int,
    confidence: float,
    step: Callable[[int], None],
) -> Comparison:
    if head == "encoder":
        if test[0].texts is None:
            raise InputError("students: 'encoder' needs test_texts=")
        named = {name: (own.texts or [], own.labels, own.weights) for name, own in sets.items()}
        return compare_tuned(
            named, test[0].texts, test[1], encoder=encoder, key=key, confidence=confidence, on_progress=step
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return compare_training_sets(
            {name: own.plain() for name, own in sets.items()},
            np.asarray(test[0].vectors, np.float32),
            test[1],
            key=key,
            seeds=seeds,
            confidence=confidence,
            head=head,
            on_progress=step,
        )


def _shares(
    real_labels: Any, pool_labels: Any, attributes: Any, weights: np.ndarray | None, notes: list[str]
) -> tuple[Share, ...]:
    columns = dict(attributes or {})
    if real_labels is not None:
        columns = {"label": (real_labels, pool_labels), **columns}
    out = []
    for name, (of_real, of_pool) in columns.items():
        if are_label_sets(of_real) and are_label_sets(of_pool):
            out += _shares_of_sets(name, of_real, of_pool, weights)
            continue
        one, other = (np.asarray([str(v) for v in values]) for values in (of_real, of_pool))
        if weights is not None and len(other) != len(weights):
            raise InputError(f"attributes: {name!r} has {len(other)} values for {len(weights)} pool rows")
        values, counts = np.unique(np.concatenate([one, other]), return_counts=True)
        if len(values) > _MAX_VALUES:
            notes.append(f"{name} has {len(values):,} values; the {_MAX_VALUES} most frequent are shown")
        for value in values[np.sort(np.argsort(-counts, kind="stable")[:_MAX_VALUES])]:
            weighted = None if weights is None else float(weights[other == value].sum() / weights.sum())
            out.append(
                Share(
                    name, str(value), float(np.mean(one == value)), float(np.mean(other == value)), weighted
                )
            )
    return tuple(out)


def _shares_of_sets(name: str, of_real: Any, of_pool: Any, weights: np.ndarray | None) -> list[Share]:
    """The share of the rows that have each value; a row may have several, so they sum to anything."""
    counts = Counter(str(value) for side in (of_real, of_pool) for row in side for value in set(row))
    found = []
    for value, _ in counts.most_common(_MAX_VALUES):
        one, other = (
            np.array([value in map(str, row) for row in side], float) for side in (of_real, of_pool)
        )
        weighted = None if weights is None else float(weights @ other / weights.sum())
        found.append(Share(name, value, float(one.mean()), float(other.mean()), weighted))
    return found
