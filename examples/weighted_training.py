"""Sample weights from `align` in a Flax / Optax training step.

    python examples/weighted_training.py

The labels of the pool are right, but its inputs are distributed unlike the real ones; the weighted loss is an
estimate of the loss on the real distribution.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import synalign_jax as sa


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Real rows around (1, 1), a pool around (-1, 0), and one curved boundary for both."""
    rng = np.random.default_rng(seed)
    real = rng.normal([1.0, 1.0], 0.6, size=(200, 2)).astype("f4")
    pool = rng.normal([-1.0, 0.0], 1.4, size=(2_000, 2)).astype("f4")
    labels = [(rows[:, 1] > np.sin(2 * rows[:, 0])).astype("i4") for rows in (real, pool)]
    return real, labels[0], pool, labels[1]


@nnx.jit
def step(
    model: nnx.Linear, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array, weights: jax.Array
) -> jax.Array:
    def loss(model: nnx.Linear) -> jax.Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
        return jnp.sum(weights * losses)

    value, slope = nnx.value_and_grad(loss)(model)
    optimizer.update(model, slope)
    return value


def train(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> nnx.Linear:
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))  # too simple for the boundary, so it matters where it is right
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)
    for _ in range(300):
        step(model, optimizer, jnp.asarray(x), jnp.asarray(y), jnp.asarray(weights))
    return model


def main() -> tuple[float, float]:
    real, real_labels, pool, pool_labels = data()
    aligned = sa.align(real, pool, key=jax.random.key(0))
    accuracies = []
    for name, weights in (("equal", np.full(len(pool), 1 / len(pool), "f4")), ("aligned", aligned.weights)):
        model = train(pool, pool_labels, weights)
        accuracies.append(float(jnp.mean(jnp.argmax(model(jnp.asarray(real)), axis=1) == real_labels)))
        print(f"{name:8} weights: accuracy on real rows {accuracies[-1]:.3f}")
    return accuracies[0], accuracies[1]


if __name__ == "__main__":
    main()
