"""Selection from a pool whose Cholesky factor fits in memory: the compiled loop, and what it leaves open."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from synalign_jax.core.kernels import Kernel, rbf, rbf_length_scale
from synalign_jax.core.padding import size_class
from synalign_jax.core.sharding import copied, put_rows

from .exact import Exact
from .search import TOGETHER, Choice, Problem, References, Search
from .select import advance, begin, grown


def loop_dtype() -> np.dtype:
    """What the loop computes in: float64 wherever the hardware has it.

    Observing rows near to known ones multiplies rounding a thousandfold: in float32 variances were wrong by
    a part in 400 after 70 rounds in five dimensions, and other processors picked other rows.
    """
    return np.dtype(np.float32 if jax.default_backend() == "tpu" else np.float64)


class Picks:
    """`take` runs the loop; where it is not certain of a choice, `Exact` makes it, and the loop goes on.

    Attributes:
        rows_left: whether a row is unobserved, once the rounds are taken.
    """

    def __init__(
        self,
        pool: np.ndarray,
        kernel: Kernel,
        *,
        neighbors: int,
        priority: np.ndarray,
        noise: float,
        outside: np.ndarray | None,
        references: tuple[np.ndarray, np.ndarray] | None,
        mesh: Mesh | None,
    ) -> None:
        """
        Args:
            pool: (n, d) floating rows.
            kernel: any tinygp kernel.
            neighbors: rows of a cluster beside its centre.
            priority: (n,) decides ties.
            noise: sigma_n^2.
            outside: (o, d) rows observed elsewhere.
            references: indices and weights of the rows whose variance is to fall; None scores by variance.
            mesh: devices over which the rows are split, None for one device.
        """
        self._pool, self._kernel, self._priority = pool, kernel, priority
        self._outside, self._references, self._noise = outside, references, noise
        self._cluster, self._mesh = neighbors + 1, mesh
        self._exact: Exact | None = None
        self._followed = 0
        self.rows_left = True

    def take(self, rounds: int, capacities: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(done, cluster) rows and (done,) variances of their centres; `done` < `rounds` if nothing is left.

        Args:
            rounds: wanted, at most one a row.
            capacities: rows of the factor, at first and after each time it fills up.
        """
        with jax.enable_x64(loop_dtype() == np.float64):
            return self._take(rounds, list(capacities))

    def _take(self, rounds: int, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        room = sizes[-1] // self._cluster
        problem, search = begin(
            self._problem(rounds), sizes.pop(0), room, self._cluster, self._outside is not None, self._mesh
        )  # fmt: skip
        while True:
            search = advance(problem, search, self._mesh)
            choice = search.choice
            stand = jax.device_get((search.done, search.count, choice.certain, choice.left))
            done, count, certain, left = (int(part) for part in stand)
            if done == rounds or not left:
                break
            if not certain:
                search = search._replace(choice=self._decide(search, done))
            if count + self._cluster > search.factor.shape[1]:
                search = grown(search, sizes.pop(0), self._mesh)
        self.rows_left = bool(search.choice.unseen)
        return np.asarray(search.clusters)[:done], np.asarray(search.variance)[:done]

    def _problem(self, rounds: int) -> Problem:
        pool, outside, mesh = self._pool, self._outside, self._mesh
        n, more, devices = len(pool), 0 if outside is None else len(outside), 1 if mesh is None else mesh.size
        size = -(-size_class(n + more) // devices) * devices
        padded = np.empty((size, pool.shape[1]), loop_dtype())
        padded[:n] = pool
        if outside is not None:
            padded[n : n + more] = outside
        padded[n + more :] = padded[0]
        kernel, length_scale = self._kernel, rbf_length_scale(self._kernel)
        if length_scale is not None:
            # Distances do not change, and rows near the origin lose nothing in the expansion of the square.
            padded -= padded[:n].mean(axis=0)
            padded /= float(length_scale)
            kernel = rbf(1.0)
        priority = np.pad(self._priority, (0, size - n))
        references = None
        if self._references is not None:
            rows, weights = self._references
            references = References(jnp.asarray(rows), jnp.asarray(weights, padded.dtype))
        return Problem(
            points=jnp.asarray(padded) if mesh is None else put_rows(padded, mesh),
            kernel=kernel,
            noise=jnp.asarray(self._noise, padded.dtype),
            pool=jnp.asarray(n),
            outside=jnp.asarray(more),
            rounds=jnp.asarray(rounds),
            priority=jnp.asarray(priority) if mesh is None else put_rows(priority, mesh),
            references=references,
        )

    def _decide(self, search: Search, done: int) -> Choice:
        """The choice that rounding leaves open, made in float64 among the rows that it may fall on."""
        exact, choice = self._follow(search, done), search.choice
        rows = np.flatnonzero(np.asarray(choice.tied))
        decision = exact.best(rows, known=int(choice.best))
        spent = np.full(TOGETHER, len(choice.tied), np.int32)
        spent[: len(decision.spent)] = decision.spent
        cluster = np.zeros(self._cluster, np.int32)
        if decision.center is not None:
            cluster = exact.cluster(decision.center).astype(np.int32)
        made = (
            cluster,
            np.asarray(decision.variance, search.variance.dtype),
            np.asarray(decision.center is not None),
            spent,
            np.asarray(True),
        )
        made = tuple(jnp.asarray(part) for part in made) if self._mesh is None else copied(made, self._mesh)
        return choice._replace(
            **dict(zip(("rows", "variance", "take", "spent", "certain"), made, strict=True))
        )

    def _follow(self, search: Search, done: int) -> Exact:
        if self._exact is None:
            self._exact = Exact(
                self._pool,
                self._kernel,
                neighbors=self._cluster - 1,
                priority=self._priority,
                noise=self._noise,
                outside=self._outside,
                references=self._references,
            )
        for cluster in np.asarray(search.clusters)[self._followed : done]:
            self._exact.observe(cluster)
        self._followed = done
        return self._exact
