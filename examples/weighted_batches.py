"""Weights that feed a batch iterator: every batch is a fresh draw from the aligned pool.

    python examples/weighted_batches.py

With grain, give `rows` of each epoch to `grain.MapDataset.source(rows)` and map the index to your example.
"""

from collections.abc import Iterator

import jax
import numpy as np

import synalign_jax as sa


def batches(weights: np.ndarray, size: int, *, key: jax.Array) -> Iterator[np.ndarray]:
    """Endless batches of row indices. An epoch visits each row its expected number of times."""
    while True:
        key, draw_key, order_key = jax.random.split(key, 3)
        rows = sa.resample(weights, len(weights), key=draw_key, method="systematic")
        rows = rows[np.asarray(jax.random.permutation(order_key, len(rows)))]
        yield from (rows[i : i + size] for i in range(0, len(rows) - size + 1, size))


def main() -> tuple[float, float]:
    rng = np.random.default_rng(0)
    real = rng.normal(1.0, 1.0, size=(200, 4)).astype("f4")
    pool = rng.normal(0.0, 1.5, size=(3_000, 4)).astype("f4")
    aligned = sa.align(real, pool, key=jax.random.key(0))
    iterator = batches(aligned.weights, 64, key=jax.random.key(1))
    seen = np.concatenate([pool[next(iterator)] for _ in range(100)])
    print(
        f"mean of the real rows {real.mean():.3f}, of the pool {pool.mean():.3f},"
        f" of the batches {seen.mean():.3f}"
    )
    return float(abs(pool.mean() - real.mean())), float(abs(seen.mean() - real.mean()))


if __name__ == "__main__":
    main()
