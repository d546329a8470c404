"""A classifier on top of the encoder, trained end to end: the student that is more than a linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from synalign_jax.text.batches import map_texts
from synalign_jax.text.encoder import Encoder
from synalign_jax.text.errors import ModelError, check_texts
from synalign_jax.text.model.network import Network
from synalign_jax.text.model.pooling import pool
from synalign_jax.text.packing import Batch, Packer, fill_batch, pack_rows, row_lengths, segments_per_row

from .vocabulary import Vocabulary

_WARM_UP = 0.1  # share of the steps in which the learning rate rises to its peak (Devlin et al. 2019)
_DROPOUT = 0.1  # of the pooled vector, as in BERT's classification head
_DEV_SHARE = 0.1
_PREDICT_TOKENS = 2_048

# One object for every student: jit then compiles one training step a shape, however many students there are.
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


class Classifier(nnx.Module):
    """The encoder, its own pooling, and a linear head in the place of its own.

    Args:
        skip: leading tokens of each text that are not pooled.
    """

    def __init__(
        self, encoder: Network, modes: tuple[str, ...], classes: int, *, skip: int = 0, rngs: nnx.Rngs
    ) -> None:
        self.encoder = encoder
        self.modes = modes
        self.skip = skip
        width = encoder.architecture.width * len(modes)
        init = nnx.initializers.normal(0.02)
        self.head = nnx.Linear(width, classes, kernel_init=init, rngs=rngs)

    def __call__(
        self,
        ids: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        segments: Int[Array, "rows length"],
        dropout: Array | None = None,
    ) -> Float[Array, "rows texts classes"]:
        """Logits. `dropout` is a random key while training, None otherwise."""
        hidden = self.encoder(ids, positions, segments, unroll=dropout is not None)
        texts = segments_per_row(ids.shape[1])
        pooled = pool(hidden, positions, segments, modes=self.modes, texts=texts, skip=self.skip)
        if dropout is not None:
            kept = jax.random.bernoulli(dropout, 1 - _DROPOUT, pooled.shape)
            pooled = jnp.where(kept, pooled / (1 - _DROPOUT), 0.0)
        return self.head(pooled)


@partial(jax.jit, static_argnames=("graph",), donate_argnames=("state", "moments"))
def _step(
    state: Any,
    moments: Any,
    tokens: tuple[Array, Array, Array],
    labels: Int[Array, "rows texts"],
    weights: Float[Array, "rows texts"],
    rate: Float[Array, ""],
    key: Array,
    *,
    graph: Any,
) -> tuple[Any, Any, Float[Array, ""]]:
    def loss(state: Any) -> Float[Array, ""]:
        logits = nnx.merge(graph, state)(*tokens, key)
        return jnp.sum(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    value, gradient = jax.value_and_grad(loss)(state)
    updates, moments = _OPTIMIZER.update(gradient, moments)
    return jax.tree.map(lambda p, u: p - rate * u, state, updates), moments, value


@partial(jax.jit, static_argnames=("graph",))
def _log_probabilities(state: Any, ids: Array, positions: Array, segments: Array, *, graph: Any) -> Array:
    return jax.nn.log_softmax(nnx.merge(graph, state)(ids, positions, segments), axis=-1)


@dataclass(frozen=True)
class Epoch:
    """`train_loss` is the weighted mean over the epoch; the dev figures are unweighted, after it."""

    train_loss: float
    dev_loss: float
    dev_accuracy: float


@dataclass(frozen=True)
class FineTuned:
    """A trained classifier: the weights of the epoch with the lowest dev loss.

    Attributes:
        epochs: one entry an epoch that was run.
        best_epoch: index into `epochs`.
    """

    encoder: Encoder
    classes: int
    epochs: list[Epoch]
    best_epoch: int
    graph: Any = field(repr=False)
    state: Any = field(repr=False)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), classes) float32 class probabilities.

        Raises:
            ModelError: an item that is not a text, with its index.
        """
        return np.exp(_predict(self.encoder, self.graph, self.state, texts, self.classes))


def finetune(
    encoder: Encoder,
    texts: Sequence[str],
    labels: Any,
    *,
    classes: int,
    key: Array,
    weights: Any = None,
    dev: tuple[Sequence[str], Any] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    patience: int = 2,
) -> FineTuned:
    """Train `encoder` with a linear head to classify `texts`; the encoder given is left as it is.

    Adam with linear warm-up and decay, cross-entropy weighted by `weights`. Training stops when the dev loss
    has not fallen for `patience` epochs. Texts are packed into rows of one length, so one step is compiled.

    Args:
        labels: (len(texts),) integers from 0 to classes - 1.
        weights: (len(texts),) non-negative, such as those of `align`; their scale does not matter.
        dev: texts and labels to stop by; None sets a tenth of each class of the training texts aside.
        batch_size: texts in a step, on average: a step takes a fixed number of rows.

    Raises:
        ModelError: an encoder that is not float32; labels or weights of the wrong length or range.
    """
    if encoder.dtype != "float32":
        raise ModelError(f"dtype: an encoder in {encoder.dtype} cannot be trained; load it in float32")
    check_texts(texts)
    y = _check_labels("labels", labels, len(texts), classes)
    w = _check_weights(weights, len(texts))
    head_key, split_key, train_key = jax.random.split(key, 3)
    train = np.arange(len(texts))
    if dev is None:
        train, held = _split(y, split_key)
        dev_texts, dev_labels = [texts[int(i)] for i in held], y[held]
    else:
        dev_texts, dev_labels = dev[0], _check_labels("dev labels", dev[1], len(dev[0]), classes)

    head = nnx.Rngs(params=head_key)
    graph, state = nnx.split(
        Classifier(encoder.model, encoder.files.pooling, classes, skip=encoder.skip, rngs=head)
    )
    whole = state
    rows = _Rows(encoder, [texts[int(i)] for i in train], y[train], w[train] / w[train].mean(), batch_size)
    state = rows.vocabulary.narrow(whole)
    moments = _OPTIMIZER.init(state)
    steps = epochs * rows.steps
    history: list[Epoch] = []
    best, best_epoch = whole, 0
    for epoch in range(epochs):
        epoch_key = jax.random.fold_in(train_key, epoch)
        total = 0.0
        for step, (tokens, targets, shares) in enumerate(rows.shuffled(epoch_key), epoch * rows.steps):
            rate = learning_rate * min(1.0, (step + 1) / (_WARM_UP * steps)) * (1 - step / steps)
            step_key = jax.random.fold_in(epoch_key, step)
            state, moments, loss = _step(
                state, moments, tokens, targets, shares, jnp.float32(rate), step_key, graph=graph
            )
            total += float(loss)
        now = rows.vocabulary.widen(state, whole)
        scores = _predict(encoder, graph, now, dev_texts, classes)
        history.append(
            Epoch(
                train_loss=total / rows.steps,
                dev_loss=float(-scores[np.arange(len(dev_labels)), dev_labels].mean()),
                dev_accuracy=float((scores.argmax(axis=1) == dev_labels).mean()),
            )
        )
        if history[-1].dev_loss <= history[best_epoch].dev_loss:
            best, best_epoch = now, epoch
        elif epoch - best_epoch >= patience:
            break
    return FineTuned(encoder, classes, history, best_epoch, graph, best)


class _Rows:
    """The training texts, packed anew in each epoch into batches of one shape."""

    def __init__(
        self, encoder: Encoder, texts: Sequence[str], labels: np.ndarray, weights: np.ndarray, batch_size: int
    ) -> None:
        ids, _ = encoder.tokenizer(texts)
        self.vocabulary = Vocabulary(ids, encoder.files.architecture.vocabulary)
        self._ids = [self.vocabulary.number(text) for text in ids]
        self._labels, self._weights = labels, weights
        self._sizes = np.array([len(ids) for ids in self._ids])
        self._length = next(n for n in row_lengths(encoder.max_tokens) if n >= self._sizes.max())
        rows = len(pack_rows(self._sizes, self._length))
        self._rows = max(1, min(rows, round(batch_size * rows / len(texts))))
        self.steps = -(-rows // self._rows)

    def shuffled(self, key: Array) -> Any:
        """Batches of (ids, positions, segments), labels and weights; weights sum to 1 in the mean batch."""
        order_key, row_key = jax.random.split(key)
        order = np.asarray(jax.random.permutation(order_key, len(self._ids)))
        packed = pack_rows(self._sizes[order], self._length)
        shuffle = np.asarray(jax.random.permutation(row_key, len(packed)))
        share = self.steps / len(self._ids)
        for step in range(self.steps):
            chosen = shuffle[step * self._rows : (step + 1) * self._rows]
            rows = [[(int(order[k]), self._ids[order[k]]) for k in packed[row]] for row in chosen]
            batch = fill_batch(rows, self._rows, self._length)
            labels, weights = (
                np.zeros((self._rows, segments_per_row(self._length)), t) for t in (np.int32, np.float32)
            )
            at = (batch.places[:, 0], batch.places[:, 1])
            labels[at], weights[at] = self._labels[batch.texts], share * self._weights[batch.texts]
            yield (batch.ids, batch.positions, batch.segments), labels, weights


def _predict(encoder: Encoder, graph: Any, state: Any, texts: Sequence[str], classes: int) -> np.ndarray:
    """(texts, classes) log-probabilities."""

    def run(batch: Batch) -> Array:
        return _log_probabilities(state, batch.ids, batch.positions, batch.segments, graph=graph)

    packer = Packer(encoder.max_tokens, tokens=_PREDICT_TOKENS)
    return map_texts(texts, encoder.tokenizer, packer, run, width=classes)[0]


def _split(labels: np.ndarray, key: Array) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and held-out rows: of each class a tenth, at least one where the class has two."""
    order = np.asarray(jax.random.permutation(key, len(labels)))
    held = []
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        held.append(rows[: min(len(rows) - 1, max(1, round(_DEV_SHARE * len(rows))))])
    dev = np.sort(np.concatenate(held))
    if not dev.size:
        raise ModelError("texts: no class has two texts, so none can be set aside; pass `dev`")
    return np.setdiff1d(np.arange(len(labels)), dev), dev


def _check_labels(name: str, labels: Any, rows: int, classes: int) -> np.ndarray:
    y = np.asarray(labels)
    if y.shape != (rows,) or not np.issubdtype(y.dtype, np.integer) or rows == 0:
        raise ModelError(f"{name}: expected {rows or 'some'} integers, one a text, got {y.dtype} {y.shape}")
    bad = np.flatnonzero((y < 0) | (y >= classes))
    if bad.size:
        raise ModelError(f"{name}: row {bad[0]} is {y[bad[0]]}; labels are 0 to {classes - 1}")
    return y


def _check_weights(weights: Any, rows: int) -> np.ndarray:
    w = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (rows,) or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise ModelError(f"weights: expected {rows} finite numbers, none negative and not all 0")
    return w
