"""Students: small Flax classifiers on embeddings, trained on a set of rows to see what that set is worth."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from synalign_jax.core.checks import InputError, check_rows, check_weights

Head = Literal["linear", "mlp"]

HIDDEN = 64
# The standard deviation that the Gaussian prior gives a weight, 1 / sqrt(L2), once rows are centred and
# scaled to unit mean squared length. docs/evaluation.md shows the accuracy over four decades of it.
L2 = 0.3
STEPS = 300
LEARNING_RATE = 0.3


class Student(nnx.Module):
    """logits = head((x - center) / scale): softmax regression, or one hidden GELU layer before it.

    `center` and `scale` come from the training rows, so that one L2 penalty suits every encoder.
    """

    def __init__(self, width: int, classes: int, *, head: Head, rngs: nnx.Rngs) -> None:
        self.center = nnx.Variable(jnp.zeros(width))
        self.scale = nnx.Variable(jnp.ones(()))
        if head == "mlp":
            self.hidden = nnx.Linear(width, HIDDEN, rngs=rngs)
            self.out = nnx.Linear(HIDDEN, classes, rngs=rngs)
        else:
            self.hidden = None
            # A convex loss needs no random start, and a zero start makes the linear student's fit exact.
            self.out = nnx.Linear(width, classes, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n classes"]:
        x = (x - self.center[...]) / self.scale[...]
        if self.hidden is not None:
            x = nnx.gelu(self.hidden(x))
        return self.out(x)


def train_student(
    embeddings: Any,
    labels: Any,
    *,
    key: Any,
    classes: int,
    weights: Any = None,
    head: Head = "linear",
    l2: float = L2,
) -> Student:
    """Fit one student by full-batch L-BFGS on the weighted, L2-penalised cross-entropy.

    The loss is sum_i w_i CE_i + (l2 / 2) ||W||^2 with the weights scaled to sum to their effective sample
    size (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965), so that a set that rests on few rows is held
    back as strongly as a set of that few rows. Biases are not penalised.

    Args:
        embeddings: (rows, width) floats.
        labels: (rows,) integers in [0, classes).
        key: starts the MLP's weights; the linear head does not use it.
        classes: how many classes there are, those missing from `labels` included.
        weights: (rows,) non-negative; None is uniform.
        head: "linear" or "mlp".
        l2: the penalty; larger is smoother.

    Raises:
        InputError: arrays that do not fit together, a label out of range, or a bad setting.
    """
    embeddings, labels, weights = checked_rows(embeddings, labels, weights, classes)
    batch = weights[None, :]
    states = fit(embeddings, labels, batch, jax.random.split(key, 1), classes=classes, head=head, l2=l2)
    student = Student(embeddings.shape[1], classes, head=head, rngs=nnx.Rngs(0))
    nnx.update(student, jax.tree.map(lambda leaf: leaf[0], states))
    return student


def predict(student: Student, embeddings: Any) -> np.ndarray:
    """(rows,) the index of the likeliest class for each row.

    Raises:
        InputError: rows that are not finite or not of the student's width.
    """
    check_rows("embeddings", embeddings, width=student.center[...].shape[0])
    return np.asarray(jnp.argmax(student(jnp.asarray(embeddings, jnp.float32)), axis=1))


def fit(
    embeddings: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    keys: Key[Array, " students"],
    *,
    classes: int,
    head: Head,
    l2: float,
) -> nnx.State:
    """Many students at once, one for each row of `weights` (students, rows), on the same rows.

    Rows are padded with weight zero to a power of two: one compile serves every set of about that size.
    All students share the centre and scale of the rows under the mean of their weights.

    Returns:
        the students' states, stacked on the first axis.
    """
    if head not in ("linear", "mlp"):
        raise InputError(f"head: {head!r}; choose 'linear' or 'mlp'")
    if not 0 < l2 < float("inf"):
        raise InputError(f"l2: {l2}; it must be positive and finite")
    pad = padded_rows(len(labels)) - len(labels)
    return _fit(
        jnp.asarray(np.pad(embeddings, ((0, pad), (0, 0)))),
        jnp.asarray(np.pad(labels, (0, pad))),
        jnp.asarray(np.pad(weights, ((0, 0), (0, pad)))),
        keys,
        jnp.float32(l2),
        classes=classes,
        head=head,
    )


def predict_many(states: nnx.State, embeddings: np.ndarray, *, classes: int, head: Head) -> np.ndarray:
    """(students, rows) likeliest classes by every student that `fit` returned."""
    rows = len(embeddings)
    padded = np.pad(embeddings, ((0, padded_rows(rows) - rows), (0, 0)))
    return np.asarray(_predict(states, jnp.asarray(padded), classes=classes, head=head))[:, :rows]


def padded_rows(rows: int) -> int:
    """The number of rows that an array is padded to: the next power of two, 256 at least."""
    return max(256, 1 << (rows - 1).bit_length())


def effective_rows(weights: np.ndarray) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2 of non-negative weights."""
    weights = np.asarray(weights, np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum())


def checked_rows(
    embeddings: Any, labels: Any, weights: Any, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three arrays as float32, int32 and float32, weights summing to their effective sample size."""
    check_rows("embeddings", embeddings)
    rows = embeddings.shape[0]
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise InputError(f"labels: expected shape ({rows},), got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels: expected integers in [0, {classes}), got {labels.dtype}")
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        raise InputError(f"labels: row {bad[0]} is {labels[bad[0]]}, outside [0, {classes})")
    weights = np.ones(rows) if weights is None else weights
    check_weights("weights", weights, rows)
    weights = np.asarray(weights, np.float64)
    weights = weights * (effective_rows(weights) / weights.sum())
    return np.asarray(embeddings, np.float32), labels.astype(np.int32), weights.astype(np.float32)


@partial(jax.jit, static_argnames=("classes", "head"))
def _fit(
    x: Float[Array, "n d"],
    labels: Int[Array, " n"],
    weights: Float[Array, "students n"],
    keys: Key[Array, " students"],
    l2: Float[Array, ""],
    *,
    classes: int,
    head: Head,
) -> nnx.State:
    shared = weights.mean(axis=0) / weights.mean(axis=0).sum()
    center = shared @ x
    scale = jnp.sqrt(shared @ jnp.sum(jnp.square(x - center), axis=1))
    scale = jnp.where(scale > 0, scale, 1.0)
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    def one(key: Key[Array, ""], weights: Float[Array, " n"]) -> nnx.State:
        student = Student(x.shape[1], classes, head=head, rngs=nnx.Rngs(key))
        student.center[...], student.scale[...] = center, scale
        graph, start, constants = nnx.split(student, nnx.Param, ...)
        share = weights / weights.sum()

        def loss(params: nnx.State) -> Float[Array, ""]:
            logits = nnx.merge(graph, params, constants)(x)
            data = optax.softmax_cross_entropy_with_integer_labels(logits, labels) @ share
            penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
            return data + 0.5 * l2 * penalty

        def step(carry: tuple, _: None) -> tuple:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)
        return nnx.merge_state(params, constants)

    return jax.vmap(one)(keys, weights)


@partial(jax.jit, static_argnames=("classes", "head"))
def _predict(
    states: nnx.State, x: Float[Array, "n d"], *, classes: int, head: Head
) -> Int[Array, "students n"]:
    graph = nnx.graphdef(nnx.eval_shape(lambda: Student(x.shape[1], classes, head=head, rngs=nnx.Rngs(0))))
    return jax.vmap(lambda state: jnp.argmax(nnx.merge(graph, state)(x), axis=1))(states)
