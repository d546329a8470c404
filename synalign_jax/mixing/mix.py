"""How much of a pool to train on beside the real rows, and with which weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from synalign_jax.core.align.align import align
from synalign_jax.core.checkpoint import NO_CHECKPOINT, Checkpoint, Part
from synalign_jax.core.checks import InputError, are_label_sets, check_prng_key, check_rows
from synalign_jax.core.effective import effective_rows
from synalign_jax.core.progress import Tell, silent

from .choice import before, chances, standard_errors
from .everywhere import everywhere
from .expected import Expected, expected
from .families import FAMILIES, GROUPED, Weigher
from .judge import MEAN, REAL_ALONE, Table, judge
from .mixture import Candidate, Gain, Mixture
from .several import FEWEST_OF_LABEL, mix_sets
from .task import Labels, Task, build_task, deal
from .verdict import not_judged, sureness, verdict, worth_using

SHARES = (0.5, 2.0, 8.0, 64.0)
_SAMPLE = 3_072  # rows of the pool that candidates are judged with
_FEW = 100  # real rows up to which twice as many folds are dealt
_FOLDS = 5
FEWEST = 4
_LIKELY = 0.5  # a chance of the real rows alone from which they are taken
_NEGLIGIBLE = 0.005  # of the mean's total, below which a family is left out of it
_AGAIN = 50  # draws where the choice is made again and again
Select = Callable[[Bool[np.ndarray, " n"], Int[np.ndarray, " k"]], Bool[np.ndarray, " k"]]


def mix(
    real: Any,
    real_labels: Labels | None,
    pool: Any,
    pool_labels: Labels | None,
    *,
    key: PRNGKeyArray,
    groups: Labels | None = None,
    select: Select | None = None,
    shares: Sequence[float] = SHARES,
    sample: int = _SAMPLE,
    on_progress: Tell = silent,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Mixture:
    """Choose the weights of a pool's rows for training a student on the real rows and these.

    Candidates are the real rows alone, and the pool as generated, aligned, weighed by what students of other
    rows think of its labels, both, and by group, each at several shares. All are judged by the cross-entropy
    of a linear student on real rows that neither the student nor the weights saw. The weights are the mean of
    the candidates' by the chance of each to be the best; all 0 where the loss is not expected to fall.

    Args:
        real: (n, d) embeddings of real rows.
        real_labels: n labels, strings or integers; None where there are none. Rows that may have several
            have a tuple, list or set each, on both sides: then each label with 5 real rows that have it and 5
            that lack it is a task of its own (the 12 most frequent are), the weights are the mean of those
            of all that the pool helps with, and losses and accuracies are means over the labels.
        pool: (m, d) embeddings of synthetic rows; a `numpy.memmap` need not fit in memory.
        pool_labels: m labels. Rows whose label no real row has get weight 0.
        key: decides the folds, the parts and the sample.
        groups: what each row of the pool comes from (generator, cluster, attribute value): then weights
            that are equal within a group are judged too, to compare; they have no part in the mean.
        select: for a pool that was sorted by the real rows, such as by a classifier of them. Give the pool
            as it was before, and here which of its rows there would be if only some real rows were known:
            (n,) booleans and (k,) positions in the pool in, (k,) booleans out. Of the sample's rows it is
            asked fold by fold, of all only what is left of them when every real row is known, which the
            weights follow. Without this every real row has been seen by the rows that are left, and what
            these are expected to gain is flattered.
        shares: totals of the pool to try, in multiples of the real rows. Those that would count a row of the
            pool for more than a real one are left out.
        sample: rows of the pool that candidates are judged with; all rows get weights.
        on_progress: called with a piece of the work, how much of it is done and how much there is.
        checkpoint: keeps what is finished: the same call with the same one goes on where it was stopped.

    Raises:
        InputError: bad arrays, labels on one side only or of another number, one label only, fewer than 4
            real rows, no row of the pool with a label of the real rows, or a setting out of range.
    """
    if (real_labels is None) != (pool_labels is None):
        raise InputError("labels: given for one side only; give real_labels and pool_labels, or neither")
    if not len(shares) or not all(0 < share < float("inf") for share in shares):
        raise InputError(f"shares: {tuple(shares)}; give finite numbers above 0")
    check_prng_key(key)
    if sample < 1:
        raise InputError(f"sample: {sample}; at least 1")
    if are_label_sets(real_labels) and are_label_sets(pool_labels):
        return _several(
            real, real_labels, pool, pool_labels, key, on_progress, checkpoint,
            groups=groups, select=select, shares=shares, sample=sample,
        )  # fmt: skip
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if real_labels is None or pool_labels is None:
        return _unlabelled(real, pool, key, on_progress, checkpoint)
    check_rows("real", real, min_rows=FEWEST)
    task = build_task(real, real_labels, pool, pool_labels, most=sample, rng=rng)
    of_row = None if groups is None else _coded(groups, len(pool))
    n = len(task.real)
    kept = deal(task.codes, min(n, _FOLDS if n > _FEW else 2 * _FOLDS), rng)
    there, left = _selected(select, kept, task)
    on_progress("weigh the pool", 0, 1)
    weigher = Weigher(task, kept, there, checkpoint)
    families = {family.name: family for family in (FAMILIES if of_row is None else FAMILIES + GROUPED)}
    of_sample = None if of_row is None else of_row[task.sample]
    weights = {name: weigher.sample(family, of_sample) for name, family in families.items()}
    tried = sorted({min(float(share), np.count_nonzero(left) / n) for share in shares})
    table = judge(task, weights, tried, kept, on_progress, checkpoint)
    found = chances(table.losses, before(table.arms), rng)
    mute = weigher.labels_say_nothing
    contends = not mute and found[0] <= _LIKELY
    # What is said of a pool that is not used is said of what could have been made of it.
    weigh = partial(chances, before=before(table.arms, alone=contends), rng=rng)
    totals = _totals(table, found if contends else weigh(table.losses))
    share = float(sum(totals.values()))
    of_mean = np.sum([total / share * weights[name] for name, total in totals.items()], axis=0)
    mean = judge(task, {MEAN: of_mean}, (share,), kept, on_progress, Part(checkpoint, "mean"))
    gains = expected(table, mean, partial(weigh, draws=_AGAIN), rng)
    sure = sureness(gains.loss.value, float(standard_errors(table.losses[:1] - mean.losses[-1:])[0]))
    used = contends and worth_using(gains.loss.value, sure, n)
    relative = np.zeros(len(pool), np.float32)
    if used:
        some = {name: total for name, total in totals.items() if total >= _NEGLIGIBLE * share}
        of_some = [families[name] for name in some]
        of_rows = everywhere(weigher, of_some, pool, left, on_progress, checkpoint)
        relative = np.array(list(some.values())) @ of_rows
        relative = (relative * (share * n / relative.sum())).astype(np.float32)
    both = Table(
        (*table.arms, mean.arms[-1]),
        np.concatenate([table.losses, mean.losses[-1:]]),
        np.concatenate([table.hits, mean.hits[-1:]]),
        (*table.penalties, mean.penalties[-1]),
    )
    candidates = _candidates(both, [*found.tolist(), 1.0], {MEAN: of_mean, **weights}, used)
    known = int(left.sum())
    return _mixture(relative, candidates, gains, task, sure, used=used, mute=mute, known=known)


def _several(
    real: Any,
    real_labels: Any,
    pool: Any,
    pool_labels: Any,
    key: PRNGKeyArray,
    tell: Tell,
    checkpoint: Checkpoint,
    **settings: Any,
) -> Mixture:
    check_rows("real", real, min_rows=FEWEST)
    check_rows("pool", pool, width=real.shape[1])
    for name, labels, rows in (("real_labels", real_labels, real), ("pool_labels", pool_labels, pool)):
        if len(labels) != len(rows):
            raise InputError(f"{name}: {len(labels)} sets of labels for {len(rows)} rows")

    number = itertools.count()

    def one(has: list[bool], made: list[bool], key: PRNGKeyArray, tell: Tell) -> Mixture:
        own = Part(checkpoint, f"label {next(number)}")
        return mix(real, has, pool, made, key=key, on_progress=tell, checkpoint=own, **settings)

    found = mix_sets(real_labels, pool_labels, one, key=key, tell=tell)
    if found is not None:
        return found
    return _unlabelled(
        real, pool, key, tell, checkpoint,
        why=f"no label is on {FEWEST_OF_LABEL} real rows and absent from {FEWEST_OF_LABEL}",
    )  # fmt: skip


def _candidates(
    table: Table, odds: Sequence[float], weights: dict[str, np.ndarray], used: bool
) -> tuple[Candidate, ...]:
    errors = standard_errors(table.losses[0] - table.losses)
    taken = MEAN if used else REAL_ALONE.family
    return tuple(
        Candidate(
            name=arm.family,
            share=arm.share,
            loss=float(table.losses[i].mean()),
            error=float(errors[i]),
            accuracy=float(table.hits[i].mean()),
            effective_rows=0.0 if arm == REAL_ALONE else effective_rows(weights[arm.family][-1]),
            penalty=table.penalties[i],
            chance=odds[i],
            chosen=arm.family == taken,
        )
        for i, arm in enumerate(table.arms)
    )


def _totals(table: Table, counted: Float[np.ndarray, " a"]) -> dict[str, float]:
    """What each family of weights sums up to in the mean, in multiples of the real rows."""
    totals: dict[str, float] = {}
    for arm, chance in zip(table.arms[1:], counted[1:].tolist(), strict=True):
        if chance > 0:
            totals[arm.family] = totals.get(arm.family, 0.0) + chance * arm.share
    return totals


def _mixture(
    weights: Float[np.ndarray, " m"],
    candidates: tuple[Candidate, ...],
    gains: Expected,
    task: Task,
    sure: float,
    *,
    used: bool,
    mute: bool,
    known: int,
) -> Mixture:
    n, none, share = len(task.real), Gain(0.0, 0.0, 0.0), candidates[-1].share
    return Mixture(
        weights=weights,
        share=float(weights.sum(dtype=np.float64)) / n,
        expected_gain=gains.accuracy if used else none,
        loss_gain=gains.loss if used else none,
        candidates=candidates,
        verdict=verdict(
            gains.accuracy,
            sure,
            used=used,
            mute=mute,
            share=share,
            mean_weight=share * n / known,
            real_rows=n,
        ),
        effective_rows=effective_rows(weights),
        labels={
            name: float(weights[task.pool_codes == i].sum(dtype=np.float64))
            for i, name in enumerate(task.names)
        },
    )


def _selected(select: Select | None, kept: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """(folds + 1, s) the rows of the sample that are there with the real rows of each fold, and (m,) those of
    the pool that are there with all."""
    left = task.pool_codes >= 0
    there = np.ones((len(kept), len(task.sample)), bool)
    if select is not None:
        for fold, seen in enumerate(kept[:-1]):
            there[fold] = _asked(select, seen, task.sample)
        left = left & _asked(select, kept[-1], np.arange(len(left)))
        there[-1] = left[task.sample]
    if not left.any():
        raise InputError("select: of all real rows leaves no row of the pool whose label a real row has")
    return there, left


def _asked(select: Select, seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found = np.asarray(select(seen, rows))
    if found.shape != rows.shape or found.dtype != bool:
        raise InputError(
            f"select: returned {found.dtype} of shape {found.shape}; one boolean for each of the"
            f" {len(rows)} rows asked for wanted"
        )
    return found


def _unlabelled(
    real: Any, pool: Any, key: PRNGKeyArray, tell: Tell, checkpoint: Checkpoint, **words: str
) -> Mixture:
    check_rows("real", real, min_rows=FEWEST)
    check_rows("pool", pool, width=real.shape[1])
    if len(pool) == 1:
        return unjudged(np.ones(1), len(real), **words)
    found = align(real, pool, key=key, on_progress=tell, checkpoint=checkpoint)
    return unjudged(found.weights, len(real), **words)


def unjudged(
    distribution: Any,
    real_rows: int,
    *,
    why: str = "there are no labels, and the students that judge here learn labels",
    rows: str = "rows",
    learner: str = "model",
) -> Mixture:
    """Weights of distribution matching on the scale of real rows, where no student can judge them.

    Together they count for the rows that they are worth, but for no more than the real rows.

    Args:
        why: no student can.
        rows, learner: what the rows are and what learns from them, for the verdict.
    """
    relative = np.asarray(distribution, np.float64)
    total = min(effective_rows(relative), float(real_rows))
    weights = (relative / relative.sum() * total).astype(np.float32)
    nothing = Gain(float("nan"), float("nan"), float("nan"))
    return Mixture(
        weights=weights,
        share=total / real_rows,
        expected_gain=nothing,
        loss_gain=nothing,
        candidates=(),
        verdict=not_judged(real_rows, why, rows, learner),
        effective_rows=effective_rows(weights),
        labels={},
    )


def _coded(groups: Labels, rows: int) -> np.ndarray:
    if len(groups) != rows:
        raise InputError(f"groups: {len(groups)} for {rows} rows of the pool")
    place: dict[Any, int] = {}
    plain = np.asarray(groups).tolist() if isinstance(groups, np.ndarray) else list(groups)
    return np.array([place.setdefault(group, len(place)) for group in plain])
