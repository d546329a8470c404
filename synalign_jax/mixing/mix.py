"""How much of a pool to train on beside the real rows, and with which weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray

from synalign_jax.core.align.align import align
from synalign_jax.core.checks import InputError, check_rows
from synalign_jax.core.effective import effective_rows
from synalign_jax.core.progress import Tell, silent

from .choice import choose, standard_errors
from .expected import expected
from .families import FAMILIES, GROUPED, Family, Weigher
from .judge import REAL_ALONE, Table, judge
from .mixture import Candidate, Gain, Mixture
from .task import Labels, build_task, deal
from .verdict import not_judged, sureness, verdict

SHARES = (0.5, 2.0, 8.0, 64.0)
_SAMPLE = 3_072  # rows of the pool that candidates are judged with
_FEW = 100  # real rows up to which twice as many folds are dealt
_FOLDS = 5
_BLOCK = 16_384
FEWEST = 4
Select = Callable[[Bool[np.ndarray, " n"]], Bool[np.ndarray, " m"]]


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
) -> Mixture:
    """Choose the weights of a pool's rows for training a student on the real rows and these.

    Candidates are the real rows alone, and the pool as generated, aligned, weighed by what students of other
    rows think of its labels, both, and by group, each at several shares. All are judged by the cross-entropy
    of a linear student on real rows that neither the student nor the weights saw.

    Args:
        real: (n, d) embeddings of real rows.
        real_labels: n labels, strings or integers; None where there are none.
        pool: (m, d) embeddings of synthetic rows; a `numpy.memmap` need not fit in memory.
        pool_labels: m labels. Rows whose label no real row has get weight 0.
        key: decides the folds, the parts and the sample.
        groups: what each row of the pool comes from (generator, cluster, attribute value): then weights
            that are equal within a group are candidates too.
        select: for a pool that was sorted by the real rows, such as by a classifier of them. Give the pool
            as it was before, and here which of its rows there would be if only some real rows were known:
            (n,) booleans in, (m,) booleans out. Without this every real row has been seen by the rows that
            are left, and what these are expected to gain is flattered. Weights follow the selection by all.
        shares: totals of the pool to try, in multiples of the real rows. Those that would count a row of the
            pool for more than a real one are left out.
        sample: rows of the pool that candidates are judged with; all rows get weights.
        on_progress: called with a piece of the work, how much of it is done and how much there is.

    Raises:
        InputError: bad arrays, labels on one side only or of another number, one label only, fewer than 4
            real rows, no row of the pool with a label of the real rows, or a setting out of range.
    """
    if (real_labels is None) != (pool_labels is None):
        raise InputError("labels: given for one side only; give real_labels and pool_labels, or neither")
    if not len(shares) or not all(0 < share < float("inf") for share in shares):
        raise InputError(f"shares: {tuple(shares)}; give finite numbers above 0")
    if sample < 1:
        raise InputError(f"sample: {sample}; at least 1")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if real_labels is None or pool_labels is None:
        return _unlabelled(real, pool, key, on_progress)
    check_rows("real", real, min_rows=FEWEST)
    task = build_task(real, real_labels, pool, pool_labels, most=sample, rng=rng)
    of_row = None if groups is None else _coded(groups, len(pool))
    n = len(task.real)
    kept = deal(task.codes, min(n, _FOLDS if n > _FEW else 2 * _FOLDS), rng)
    there = _selected(select, kept, task.pool_codes)
    on_progress("weigh the pool", 0, 1)
    weigher = Weigher(task, kept, there[:, task.sample])
    families = {family.name: family for family in (FAMILIES if of_row is None else FAMILIES + GROUPED)}
    of_sample = None if of_row is None else of_row[task.sample]
    weights = {name: weigher.sample(family, of_sample) for name, family in families.items()}
    tried = sorted({min(share, np.count_nonzero(there[-1]) / n) for share in shares})
    table = judge(task, weights, tried, kept, on_progress)
    return _mixture(table, weigher, families, weights, pool, there[-1], of_row, rng, on_progress)


def _mixture(
    table: Table,
    weigher: Weigher,
    families: dict[str, Family],
    of_sample: dict[str, np.ndarray],
    pool: Any,
    there: np.ndarray,
    groups: np.ndarray | None,
    rng: np.random.Generator,
    tell: Tell,
) -> Mixture:
    task, n = weigher.task, len(weigher.task.real)
    mute = weigher.labels_say_nothing
    chosen = table.arms.index(REAL_ALONE) if mute else choose(table).arm
    used = table.arms[chosen] != REAL_ALONE
    # What is said of a pool that is not used is said of the best that could have been done with it.
    pick = (lambda given: choose(given).arm) if used else _best
    spoken = pick(table)
    arm = table.arms[spoken]
    accuracy, loss = expected(table, spoken, pick, rng)
    errors = standard_errors(table.losses[0] - table.losses)
    sure = sureness(loss.value, float(errors[spoken]))
    weights = np.zeros(len(task.pool_codes), np.float32)
    if used:
        relative = _everywhere(weigher, families[arm.family], pool, there, groups, tell)
        weights = (relative * (arm.share * n / relative.sum(dtype=np.float64))).astype(np.float32)
    total = float(weights.sum(dtype=np.float64))
    none = Gain(0.0, 0.0, 0.0)
    return Mixture(
        weights=weights,
        share=total / n,
        expected_gain=accuracy if used else none,
        loss_gain=loss if used else none,
        candidates=tuple(
            Candidate(
                name=each.family,
                share=each.share,
                loss=float(table.losses[i].mean()),
                error=float(errors[i]),
                accuracy=float(table.hits[i].mean()),
                effective_rows=0.0 if each == REAL_ALONE else effective_rows(of_sample[each.family][-1]),
                penalty=table.penalties[i],
                chosen=i == chosen,
            )
            for i, each in enumerate(table.arms)
        ),
        verdict=verdict(
            accuracy,
            sure,
            used=used,
            mute=mute,
            family=arm.family,
            share=arm.share,
            mean_weight=arm.share * n / np.count_nonzero(there),
            real_rows=n,
        ),
        effective_rows=effective_rows(weights),
        labels={
            name: float(weights[task.pool_codes == i].sum(dtype=np.float64))
            for i, name in enumerate(task.names)
        },
    )


def _best(table: Table) -> int:
    """The mixture of least loss, the real rows alone left out."""
    return 1 + int(np.argmin(table.losses[1:].mean(axis=1)))


def _everywhere(
    weigher: Weigher,
    family: Family,
    pool: Any,
    there: np.ndarray,
    groups: np.ndarray | None,
    tell: Tell,
) -> np.ndarray:
    """Relative weights of all rows that are there, read in blocks; those of the sample as judged."""
    task, m = weigher.task, len(weigher.task.pool_codes)
    weights = np.zeros(m)
    if len(task.sample) < m:
        for start in range(0, m, _BLOCK):
            tell("weigh every row", start, m)
            block = slice(start, min(start + _BLOCK, m))
            weights[block] = weigher.further(
                family, np.asarray(pool[block], np.float32), task.pool_codes[block]
            )
    raw = weigher.raw(family)
    weights[~there] = 0.0
    beyond = there.copy()
    beyond[task.sample] = False
    for label in range(task.classes):
        # Weights that are hardly penalised fit the sample; beyond it the closed form needs a factor.
        within = raw[weigher.there[-1] & (task.row_codes == label)]
        without = beyond & (task.pool_codes == label)
        total = weights[without].sum()
        if total > 0:
            weights[without] *= within.mean() * np.count_nonzero(without) / total if len(within) else 1.0
    weights[task.sample] = raw
    if family.grouped and groups is not None:
        counts = np.bincount(groups[there], minlength=groups.max() + 1)
        sums = np.bincount(groups[there], weights[there], len(counts))
        weights[there] = (sums / np.maximum(counts, 1))[groups[there]]
    if not weights.sum() > 0:
        weights[there] = 1.0
    return weights


def _selected(select: Select | None, kept: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(folds + 1, m) the rows of known labels that are there with the real rows of each fold."""
    there = np.tile(codes >= 0, (len(kept), 1))
    if select is None:
        return there
    for fold, seen in enumerate(kept):
        found = np.asarray(select(seen))
        if found.shape != codes.shape or found.dtype != bool:
            raise InputError(
                f"select: returned {found.dtype} of shape {found.shape}; one boolean for each of the"
                f" {len(codes)} rows of the pool wanted"
            )
        there[fold] &= found
    if not there[-1].any():
        raise InputError("select: of all real rows leaves no row of the pool whose label a real row has")
    return there


def _unlabelled(real: Any, pool: Any, key: PRNGKeyArray, tell: Tell) -> Mixture:
    check_rows("real", real, min_rows=FEWEST)
    check_rows("pool", pool, width=real.shape[1])
    if len(pool) == 1:
        return unjudged(np.ones(1), len(real))
    return unjudged(align(real, pool, key=key, on_progress=tell).weights, len(real))


def unjudged(distribution: Any, real_rows: int) -> Mixture:
    """Weights of distribution matching on the scale of real rows, where no student can judge them.

    Together they count for the rows that they are worth, but for no more than the real rows.
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
        verdict=not_judged(real_rows),
        effective_rows=effective_rows(weights),
        labels={},
    )


def _coded(groups: Labels, rows: int) -> np.ndarray:
    if len(groups) != rows:
        raise InputError(f"groups: {len(groups)} for {rows} rows of the pool")
    place: dict[Any, int] = {}
    plain = np.asarray(groups).tolist() if isinstance(groups, np.ndarray) else list(groups)
    return np.array([place.setdefault(group, len(place)) for group in plain])
