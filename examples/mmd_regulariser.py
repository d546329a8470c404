"""`mmd2` as a regulariser inside a jitted loss: an encoder whose features do not tell two domains apart.

python examples/mmd_regulariser.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import synalign_jax as sa
from synalign_jax.core.kernels import rbf_mixture

# A fixed kernel: one from the data would follow the features as they shrink.
KERNEL = rbf_mixture([0.25, 1.0, 4.0])


def loss(
    parameters: dict[str, jax.Array], source: jax.Array, labels: jax.Array, target: jax.Array, strength: float
) -> tuple[jax.Array, jax.Array]:
    features, others = (jnp.tanh(rows @ parameters["encode"]) for rows in (source, target))
    error = optax.softmax_cross_entropy_with_integer_labels(features @ parameters["classify"], labels).mean()
    distance = sa.mmd2(features, others, kernel=KERNEL, statistic="u")
    return error + strength * distance, distance


def train(strength: float) -> float:
    """MMD^2 between the domains' features after training."""
    rng = np.random.default_rng(0)
    source = jnp.asarray(rng.normal(size=(256, 8)), jnp.float32)
    labels = (source[:, 0] + source[:, 4] > 0).astype(jnp.int32)
    target = (
        jnp.asarray(rng.normal(size=(256, 8)), jnp.float32).at[:, 4:].add(1.5)
    )  # shifted where labels are not
    parameters = {
        "encode": jnp.asarray(rng.normal(size=(8, 4)) * 0.5, jnp.float32),
        "classify": jnp.zeros((4, 2)),
    }
    optimizer = optax.adam(0.02)
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state):
        (_, distance), slope = jax.value_and_grad(loss, has_aux=True)(
            parameters, source, labels, target, strength
        )
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(parameters, updates), state, distance

    for _ in range(150):
        parameters, state, distance = step(parameters, state)
    return float(distance)


def main() -> tuple[float, float]:
    without, with_it = train(0.0), train(10.0)
    print(f"MMD^2 between the domains' features: {without:.4f} without the term, {with_it:.4f} with it")
    return without, with_it


if __name__ == "__main__":
    main()
