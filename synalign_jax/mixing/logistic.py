"""Many weighted logistic students on the same rows at once: the judges of every candidate and fold."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

COLUMNS = 128  # coefficient columns that one compiled solve holds
_FEW_COLUMNS = 24
_NEWTON = 12
_INNER = 8  # conjugate gradient steps in a Newton step
_TOLERANCE = 5e-4  # of the gradient, in units of the total weight


class _State(NamedTuple):
    u: Float[Array, "s d k"]
    logits: Float[Array, "n s k"]
    steps: Int[Array, ""]
    size: Float[Array, " s"]  # of the gradient, relative


def contrasts(classes: int) -> np.ndarray:
    """(classes, classes - 1) orthonormal, its columns summing to 0.

    Softmax regression with a penalty on all classes alike has its optimum among coefficients that sum to 0
    over the classes; in this basis the penalty is the plain squared norm and one column is saved.
    """
    centred = np.eye(classes) - 1.0 / classes
    return np.linalg.svd(centred)[0][:, : classes - 1]


def fit(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    weights: Float[np.ndarray, "s n"],
    penalties: Float[np.ndarray, " s"],
    *,
    classes: int,
    start: Float[np.ndarray, "s d1 k"] | None = None,
) -> np.ndarray:
    """Minimise sum_i w_i (cross-entropy of row i) + penalty / 2 |U|^2 for every row of `weights`.

    The intercept is not penalised. Sums, not means: what a penalty means does not hang on how many rows
    there are. Newton steps, each solved by conjugate gradients, from `start` or from zero.

    Returns:
        (s, d + 1, classes - 1) coefficients in the basis of `contrasts`; the last row is the intercept.
    """
    rows = _padded(len(x))
    wide = np.zeros((rows, x.shape[1] + 1), np.float32)
    wide[: len(x), :-1], wide[: len(x), -1] = x, 1.0
    coded = np.pad(np.asarray(labels, np.int32), (0, rows - len(x)))
    few = len(weights) * (classes - 1) <= _FEW_COLUMNS
    together = max(1, (_FEW_COLUMNS if few else COLUMNS) // (classes - 1))
    basis = jnp.asarray(contrasts(classes), jnp.float32)
    shared, targets = jnp.asarray(wide), jnp.asarray(coded)
    parts = []
    for first in range(0, len(weights), together):
        part = np.zeros((together, rows), np.float32)
        some = weights[first : first + together]
        part[: len(some), : len(x)] = some
        penalty = np.ones(together, np.float32)
        penalty[: len(some)] = penalties[first : first + together]
        begin = np.zeros((together, wide.shape[1], classes - 1), np.float32)
        if start is not None:
            begin[: len(some)] = start[first : first + together]
        found = _fit(shared, targets, jnp.asarray(part), jnp.asarray(penalty), basis, jnp.asarray(begin))
        parts.append(np.asarray(found)[: len(some)])
    return np.concatenate(parts)


def log_probabilities(
    coefficients: Float[np.ndarray, "s d1 k"], x: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "s n classes"]:
    """Of every class at every row, by every student."""
    classes = coefficients.shape[2] + 1
    logits = np.einsum("nd,sdk->snk", x, coefficients[:, :-1], optimize=True) + coefficients[:, -1:]
    scores = logits @ contrasts(classes).T.astype(logits.dtype)
    scores -= scores.max(axis=2, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))


def _padded(rows: int) -> int:
    return 256 * -(-rows // 256) if rows <= 2048 else 512 * -(-rows // 512)


@jax.jit
def _fit(
    x: Float[Array, "n d"],
    labels: Int[Array, " n"],
    weights: Float[Array, "s n"],
    penalties: Float[Array, " s"],
    basis: Float[Array, "classes k"],
    begin: Float[Array, "s d k"],
) -> Float[Array, "s d k"]:
    (n, d), s, k = x.shape, weights.shape[0], basis.shape[1]
    a = weights.T[:, :, None]
    target = basis[labels][:, None, :]
    lam = penalties[:, None, None] * jnp.ones((d, 1)).at[-1].set(1e-6)
    total = jnp.maximum(weights.sum(axis=1), 1e-12)

    def forward(u: Array) -> Array:
        return (x @ u.transpose(1, 0, 2).reshape(d, s * k)).reshape(n, s, k)

    def backward(r: Array) -> Array:
        return (x.T @ r.reshape(n, s * k)).reshape(d, s, k).transpose(1, 0, 2)

    # Two classes: 1 / (1 + exp(-sqrt(2) logit)), and products with one column written out.
    def scores_of(logits: Array) -> Array:
        return logits * basis[:, 0] if k == 1 else logits @ basis.T

    def coded(p: Array) -> Array:
        return p @ basis if k > 1 else jnp.sum(p * basis[:, 0], axis=2, keepdims=True)

    def shares(logits: Array) -> Array:
        return jax.nn.softmax(scores_of(logits), axis=2)

    def loss(logits: Array, u: Array) -> Array:
        scores = scores_of(logits)
        data = jax.nn.logsumexp(scores, axis=2) - jnp.sum(logits * target, axis=2)
        return jnp.sum(a[:, :, 0] * data, axis=0) + 0.5 * jnp.sum(lam * u**2, axis=(1, 2))

    def gradient(u: Array, p: Array) -> Array:
        return backward(a * (coded(p) - target)) + lam * u

    def dot(left: Array, right: Array) -> Array:
        return jnp.sum(left * right, axis=(1, 2), keepdims=True)

    def newton(state: _State) -> _State:
        u, logits = state.u, state.logits
        p = shares(logits)
        slope = gradient(u, p)
        spread = 2.0 * p[:, :, :1] * p[:, :, 1:] if k == 1 else p @ basis**2 - (p @ basis) ** 2
        scale = backward_squares(a * spread) + lam

        def curvature(v: Array) -> Array:
            if k == 1:
                return backward(a * spread * forward(v)) + lam * v
            q = forward(v) @ basis.T
            q = p * (q - jnp.sum(p * q, axis=2, keepdims=True))
            return backward(a * (q @ basis)) + lam * v

        def inner(_: Array, carry: tuple) -> tuple:
            step, rest, way, inside = carry
            image = curvature(way)
            length = inside / jnp.maximum(dot(way, image), 1e-30)
            step, rest = step + length * way, rest - length * image
            ready = rest / scale
            following = dot(rest, ready)
            return step, rest, ready + following / jnp.maximum(inside, 1e-30) * way, following

        rest = -slope
        way = rest / scale
        step = jax.lax.fori_loop(0, _INNER, inner, (jnp.zeros_like(u), rest, way, dot(rest, way)))[0]
        moved = forward(step)
        lengths = jnp.array([1.0, 0.5, 0.25, 0.0625, 0.0])
        values = jax.lax.map(lambda t: loss(logits + t * moved, u + t * step), lengths)
        best = lengths[jnp.argmin(values, axis=0)][:, None, None]
        u, logits = u + best * step, logits + best[:, 0] * moved
        size = jnp.max(jnp.abs(gradient(u, shares(logits))), axis=(1, 2)) / total
        return _State(u, logits, state.steps + 1, size)

    squares = x**2

    def backward_squares(r: Array) -> Array:
        return (squares.T @ r.reshape(n, s * k)).reshape(d, s, k).transpose(1, 0, 2)

    start = _State(begin, forward(begin), jnp.zeros((), int), jnp.ones(s))
    more = lambda state: (state.steps < _NEWTON) & jnp.any(state.size > _TOLERANCE)  # noqa: E731
    return jax.lax.while_loop(more, newton, start).u
