"""A dense retriever: the Flax encoder, fine-tuned on pairs of a question and a passage."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from synalign_jax.text import Encoder
from synalign_jax.text.model.pooling import pool

_QUESTION_TOKENS, _PASSAGE_TOKENS = 32, 96
_TEMPERATURE = 0.05  # of the cosines, as sentence-transformers' MultipleNegativesRankingLoss (scale 20)
_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


def load() -> Encoder:
    return Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=_PASSAGE_TOKENS)


def tuned(
    encoder: Encoder,
    questions: list[str],
    passages: list[str],
    same: np.ndarray,
    *,
    batch: int = 32,
    learning_rate: float = 5e-5,
) -> Encoder:
    """One pass over pairs in the order given: each passage is told from the others in its batch (Henderson et
    al. 2017), with linear warm-up and decay.

    Args:
        same: (pairs,) the passages' numbers: a passage is no wrong answer to a question that is about it too.
    """
    graph, state = nnx.split(encoder.model)
    moments = _OPTIMIZER.init(state)
    steps = len(questions) // batch
    for step in range(steps):
        rows = slice(step * batch, (step + 1) * batch)
        rate = learning_rate * min(1.0, (step + 1) / (0.1 * steps)) * (1 - step / steps)
        state, moments = _step(
            state, moments, _rows(encoder, questions[rows], _QUESTION_TOKENS),
            _rows(encoder, passages[rows], _PASSAGE_TOKENS), jnp.asarray(same[rows]), jnp.float32(rate),
            graph=graph, modes=encoder.files.pooling,
        )  # fmt: skip
    return Encoder(
        encoder.files, nnx.merge(graph, state), dtype="float32", max_tokens=_PASSAGE_TOKENS, prompt="",
        truncate_dim=None, mesh=None, batch_tokens=encoder.batch_tokens,
    )  # fmt: skip


def rankings(encoder: Encoder, questions: list[str], passages: list[str]) -> np.ndarray:
    """(questions, passages) numbers of the passages, nearest first."""
    return np.argsort(-encoder.embed(questions) @ encoder.embed(passages).T, axis=1, kind="stable")


def _rows(encoder: Encoder, texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row a text: token numbers, positions and which are there."""
    found, _ = encoder.tokenizer(texts)
    ids, there = np.zeros((len(texts), length), np.int32), np.zeros((len(texts), length), np.int32)
    for row, tokens in enumerate(found):
        # The last token of a text that is cut stays its end.
        kept = tokens if len(tokens) <= length else np.r_[tokens[: length - 1], tokens[-1]]
        ids[row, : len(kept)], there[row, : len(kept)] = kept, 1
    return ids, np.tile(np.arange(length, dtype=np.int32), (len(texts), 1)) * there, there


@partial(jax.jit, static_argnames=("graph", "modes"), donate_argnames=("state", "moments"))
def _step(
    state: Any, moments: Any, questions: Any, passages: Any, same: Any, rate: Any, *, graph: Any, modes: Any
) -> tuple[Any, Any]:
    def loss(state: Any) -> jax.Array:
        network = nnx.merge(graph, state)
        asked, told = (_vectors(network, *rows, modes) for rows in (questions, passages))
        cosines = asked @ told.T / _TEMPERATURE
        twin = (same[:, None] == same[None, :]) & ~jnp.eye(len(same), dtype=bool)
        cosines = jnp.where(twin, -jnp.inf, cosines)
        return optax.softmax_cross_entropy_with_integer_labels(cosines, jnp.arange(len(same))).mean()

    updates, moments = _OPTIMIZER.update(jax.grad(loss)(state), moments)
    return jax.tree.map(lambda p, u: p - rate * u, state, updates), moments


def _vectors(network: Any, ids: Any, positions: Any, segments: Any, modes: tuple[str, ...]) -> jax.Array:
    hidden = network(ids, positions, segments, unroll=True)
    pooled = pool(hidden, positions, segments, modes=modes, texts=1)[:, 0]
    return pooled / jnp.linalg.norm(pooled, axis=1, keepdims=True)
