"""Students: small Flax classifiers on embeddings, trained on a set of rows to see what that set is worth."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from synalign_jax.core.checks import InputError, check_rows, check_weights
from synalign_jax.core.resample import systematic

HIDDEN = 64
STEPS = 300
LEARNING_RATE = 0.3
PENALTIES = np.array([1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], np.float32)
_FOLDS = 5
_PENALTY_ROWS = 2_048


class Student(nnx.Module):
    """logits = head((x - center) / scale): softmax regression, or one hidden GELU layer before it.

    `center` and `scale` come from the training rows, so that one range of penalties suits every encoder.
    """

    def __init__(self, width: int, classes: int, *, head: str, rngs: nnx.Rngs) -> None:
        self.center = nnx.Variable(jnp.zeros(width))
        self.scale = nnx.Variable(jnp.ones(()))
        if head == "mlp":
            self.hidden = nnx.Linear(width, HIDDEN, rngs=rngs)
            self.out = nnx.Linear(HIDDEN, classes, rngs=rngs)
        else:
            # The loss is convex: one start serves every seed.
            self.hidden = None
            self.out = nnx.Linear(width, classes, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n classes"]:
        x = (x - self.center[...]) / self.scale[...]
        if self.hidden is not None:
            x = nnx.gelu(self.hidden(x))
        return self.out(x)


class LabelledRows(NamedTuple):
    """Distinct training rows: embeddings (rows, width) float32, labels int32, weights float32 of mean one.

    Labels are (rows,) classes; or (rows, classes) zeros and ones where a row may have several: then a student
    says yes or no to each of them, one against the rest.
    """

    @property
    def several(self) -> bool:
        return self.labels.ndim == 2

    def strata(self) -> np.ndarray:
        """(rows,) a number for each label, or for each combination of several."""
        return strata(self.labels)

    embeddings: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def train_student(
    embeddings: Any,
    labels: Any,
    *,
    key: Any,
    classes: int,
    weights: Any = None,
    head: str = "linear",
    penalty: float | None = None,
) -> Student:
    """Fit one student: full-batch Adam on the weighted mean cross-entropy + (penalty / 2) ||W||^2.

    Biases are not penalised. Identical rows of one label are merged and their weights added.

    Args:
        embeddings: (rows, width) floats.
        labels: (rows,) integers in [0, classes).
        key: deals the folds and starts the MLP's weights.
        classes: how many classes there are, those missing from `labels` included.
        weights: (rows,) non-negative; None is uniform.
        head: "linear" or "mlp".
        penalty: the L2 penalty on rows of unit mean squared length; None chooses it by
            cross-validation inside the training rows (`choose_penalty`).

    Raises:
        InputError: arrays that do not fit together, a label out of range, or a bad setting.
    """
    rows = labelled_rows(embeddings, labels, weights, classes)
    fold_key, start_key = jax.random.split(key)
    if penalty is None:
        penalty = choose_penalty(rows, key=fold_key, classes=classes, head=head)
    elif not 0 < penalty < float("inf"):
        raise InputError(f"penalty: {penalty}; it must be positive and finite")
    keys = jax.random.split(start_key, 1)
    states = fit(rows, rows.weights[None], keys, np.array([penalty], np.float32), classes=classes, head=head)
    student = Student(rows.embeddings.shape[1], classes, head=head, rngs=nnx.Rngs(0))
    nnx.update(student, jax.tree.map(lambda leaf: leaf[0], states))
    return student


def predict(student: Student, embeddings: Any) -> np.ndarray:
    """(rows,) the index of the likeliest class for each row.

    Raises:
        InputError: rows that are not finite or not of the student's width.
    """
    check_rows("embeddings", embeddings, width=student.center[...].shape[0])
    return np.asarray(jnp.argmax(student(jnp.asarray(embeddings, jnp.float32)), axis=1))


def choose_penalty(rows: LabelledRows, *, key: Any, classes: int, head: str) -> float:
    """The penalty of PENALTIES with the least Brier score in 5-fold cross-validation on the training rows.

    The folds are stratified by label. Sets of more than 2,048 rows are judged on a random 2,048.
    The Brier score (Monthly Weather Review, 1950) is proper, and bounded: a mislabelled row cannot rule.
    """
    order_key, start_key = jax.random.split(key)
    # NumPy's shuffle: JAX compiles one for every number of rows.
    order = np.random.default_rng(np.asarray(jax.random.key_data(order_key))).permutation(len(rows.labels))
    order = order[:_PENALTY_ROWS]
    order = order[np.argsort(rows.strata()[order], kind="stable")]
    rows = LabelledRows(*(array[order] for array in rows))
    folds = np.arange(len(order)) % _FOLDS
    kept = folds != np.arange(_FOLDS)[:, None]
    weights = np.where(kept, rows.weights, 0.0).astype(np.float32)
    usable = weights.sum(axis=1) > 0  # a fold may hold all the weight there is
    weights, held = weights[usable], ~kept[usable]
    if not len(weights):
        return float(PENALTIES[-1])
    students = len(PENALTIES) * len(weights)
    states = fit(
        rows,
        np.tile(weights, (len(PENALTIES), 1)),
        jax.random.split(start_key, students),
        np.repeat(PENALTIES, len(weights)),
        classes=classes,
        head=head,
    )
    logs = log_probabilities(states, rows.embeddings, classes=classes, head=head, several=rows.several)
    truth = rows.labels if rows.several else np.eye(classes, dtype=np.float32)[rows.labels]
    brier = np.square(np.exp(logs) - truth).sum(axis=2)
    brier = brier.reshape(len(PENALTIES), len(weights), -1)
    losses = (brier * held * rows.weights).sum(axis=(1, 2))
    # A penalty under which a student diverges is none.
    return float(PENALTIES[np.argmin(np.where(np.isfinite(losses), losses, np.inf))])


def fit(
    rows: LabelledRows,
    weights: Float[np.ndarray, "students n"],
    keys: Key[Array, " students"],
    penalties: Float[np.ndarray, " students"],
    *,
    classes: int,
    head: str,
) -> nnx.State:
    """Many students at once on the same rows, each with its own row weights, start and penalty.

    Rows are padded with weight zero to a power of two, so one compile serves every set of about that size.

    Returns:
        the students' states, stacked on the first axis.
    """
    if head not in ("linear", "mlp"):
        raise InputError(f"head: {head!r}; choose 'linear' or 'mlp'")
    pad = _padded(len(rows.labels)) - len(rows.labels)
    return _fit(
        jnp.asarray(np.pad(rows.embeddings, ((0, pad), (0, 0)))),
        jnp.asarray(np.pad(rows.labels, [(0, pad), (0, 0)][: rows.labels.ndim])),
        jnp.asarray(np.pad(weights, ((0, 0), (0, pad)))),
        keys,
        jnp.asarray(penalties),
        classes=classes,
        head=head,
    )


def log_probabilities(
    states: nnx.State, embeddings: np.ndarray, *, classes: int, head: str, several: bool = False
) -> np.ndarray:
    """(students, rows, classes) by every student that `fit` returned; each of `several` labels by itself."""
    rows = len(embeddings)
    padded = jnp.asarray(np.pad(embeddings, ((0, _padded(rows) - rows), (0, 0))))
    logs = _log_probabilities(states, padded, classes=classes, head=head, several=several)
    return np.asarray(logs)[:, :rows]


def labelled_rows(embeddings: Any, labels: Any, weights: Any, classes: int) -> LabelledRows:
    """Checked training rows, identical ones of one label merged: a copy is weight, not evidence.

    Args:
        labels: (rows,), or (rows, classes) zeros and ones.

    Raises:
        InputError: arrays that do not fit together, or a label out of range.
    """
    check_rows("embeddings", embeddings)
    rows = embeddings.shape[0]
    labels = np.asarray(labels)
    if labels.shape not in ((rows,), (rows, classes)):
        raise InputError(f"labels: expected shape ({rows},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels: expected integers in [0, {classes}), got {labels.dtype}")
    bad = np.argwhere((labels < 0) | (labels >= (classes if labels.ndim == 1 else 2)))
    if bad.size:
        raise InputError(f"labels: row {bad[0, 0]} is {labels[tuple(bad[0])]}, outside [0, {classes})")
    weights = np.ones(rows) if weights is None else weights
    check_weights("weights", weights, rows)
    embeddings = np.asarray(embeddings, np.float32)
    first: dict[tuple[bytes, int], int] = {}
    group = np.array(
        [
            first.setdefault((e.tobytes(), y), i)
            for i, (e, y) in enumerate(zip(embeddings, strata(labels).tolist(), strict=True))
        ]
    )
    merged = np.bincount(group, np.asarray(weights, np.float64), rows)
    distinct = np.flatnonzero((group == np.arange(rows)) & (merged > 0))
    merged = merged[distinct] / merged[distinct].mean()
    return LabelledRows(embeddings[distinct], labels[distinct].astype(np.int32), merged.astype(np.float32))


def strata(labels: np.ndarray) -> np.ndarray:
    """(rows,) a number for each of the labels, or for each combination of (rows, classes) zeros and ones."""
    return labels if labels.ndim == 1 else np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def thinned(
    weights: Float[np.ndarray, " n"], most: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " some"], Float[np.ndarray, " some"]]:
    """Positions and weights of at most `most` rows that stand for all: sums over them are without bias.

    Rows above a threshold stay as they are; of the others each is taken with the chance weight / threshold,
    and then counts the threshold (Duffield, Lund & Thorup, "Priority Sampling for Estimation of Arbitrary
    Subset Sums", J. ACM 2007, section 2.2), at equal steps of their sum.
    """
    rows = np.flatnonzero(weights)
    if len(rows) <= most:
        return rows, weights[rows]
    order = rows[np.argsort(-weights[rows], kind="stable")]
    falling = weights[order].astype(np.float64)
    left = np.cumsum(falling[::-1])[::-1]  # of a row and all lighter ones
    thresholds = left[:most] / (most - np.arange(most))
    whole = int(np.argmax(falling[:most] <= thresholds))
    light = np.sort(order[whole:])
    drawn = light[systematic(weights[light] / left[whole], most - whole, float(rng.random()))]
    kept = np.concatenate([order[:whole], drawn])
    counted = np.concatenate([falling[:whole], np.full(len(drawn), thresholds[whole])])
    place = np.argsort(kept, kind="stable")
    return kept[place], counted[place]


def _padded(rows: int) -> int:
    """The next power of two, 256 at least."""
    return max(256, 1 << (rows - 1).bit_length())


@partial(jax.jit, static_argnames=("classes", "head"))
def _fit(
    x: Float[Array, "n d"],
    labels: Int[Array, " n"] | Int[Array, "n classes"],
    weights: Float[Array, "students n"],
    keys: Key[Array, " students"],
    penalties: Float[Array, " students"],
    *,
    classes: int,
    head: str,
) -> nnx.State:
    # One centre and scale for all students keeps x common to them, so that each step is one matrix product.
    shared = weights.sum(axis=0) / weights.sum()
    center = shared @ x
    scale = jnp.sqrt(shared @ jnp.sum(jnp.square(x - center), axis=1))
    # Squares that overflow would make all rows alike, in silence; NaN is heard.
    scale = jnp.where(jnp.isfinite(scale), jnp.where(scale > 0, scale, 1.0), jnp.nan)
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    def one(key: Key[Array, ""], weights: Float[Array, " n"], penalty: Float[Array, ""]) -> nnx.State:
        student = Student(x.shape[1], classes, head=head, rngs=nnx.Rngs(key))
        student.center[...], student.scale[...] = center, scale
        graph, start, constants = nnx.split(student, nnx.Param, ...)
        share = weights / weights.sum()

        def loss(params: nnx.State) -> Float[Array, ""]:
            logits = nnx.merge(graph, params, constants)(x)
            if labels.ndim == 2:
                losses = optax.sigmoid_binary_cross_entropy(logits, labels).sum(axis=1)
            else:
                losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            data = losses @ share
            squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
            return data + 0.5 * penalty * squares

        def step(carry: tuple, _: None) -> tuple:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)
        return nnx.merge_state(params, constants)

    return jax.vmap(one)(keys, weights, penalties)


@partial(jax.jit, static_argnames=("classes", "head", "several"))
def _log_probabilities(
    states: nnx.State, x: Float[Array, "n d"], *, classes: int, head: str, several: bool
) -> Float[Array, "students n classes"]:
    graph = nnx.graphdef(nnx.eval_shape(lambda: Student(x.shape[1], classes, head=head, rngs=nnx.Rngs(0))))
    of_logits = jax.nn.log_sigmoid if several else jax.nn.log_softmax
    return jax.vmap(lambda state: of_logits(nnx.merge(graph, state)(x)))(states)
