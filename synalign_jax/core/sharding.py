"""Rows over the devices of a mesh, in one process or several."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def rows_sharded(mesh: Mesh) -> NamedSharding:
    """The first axis split over every device of `mesh`, whatever the mesh's own axes."""
    return NamedSharding(_flat(mesh), PartitionSpec("rows"))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device of `mesh`."""
    return NamedSharding(_flat(mesh), PartitionSpec())


def put_rows(x: Any, mesh: Mesh) -> jax.Array:
    """`x` split by rows; each process reads its own part only, so `x` may be memory-mapped.

    The rows must be a multiple of the mesh's devices.
    """
    return jax.make_array_from_callback(x.shape, rows_sharded(mesh), lambda index: np.asarray(x[index]))


def copied(tree: Any, mesh: Mesh | None) -> Any:
    """On every device of the mesh; as it is without one."""
    if mesh is None:
        return tree
    return jax.device_put(jax.tree.map(np.asarray, tree), replicated(mesh))


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """Within `jit`: results that every process is to see whole."""
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def _flat(mesh: Mesh) -> Mesh:
    return Mesh(mesh.devices.reshape(-1), ("rows",))
