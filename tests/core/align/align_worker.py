"""Aligns one fixed problem; run by test_align_devices.py in processes of its own."""

import argparse

import jax
import numpy as np

from synalign_jax.core.align import problem
from synalign_jax.core.align.align import align
from synalign_jax.core.align.landmarks import solver as landmark_solver
from synalign_jax.core.kernels import rbf


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--mesh", action="store_true")
    parser.add_argument("--processes", nargs=2, metavar=("ADDRESS", "INDEX"))
    options = parser.parse_args()
    if options.processes:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address, index = options.processes
        jax.distributed.initialize(address, num_processes=2, process_id=int(index))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("rows",)) if options.mesh else None
    landmark_solver.LANDMARKS = 256  # devices that share two cores each factorise the landmarks' matrices
    landmark_solver.HELD_VALUES = 256 * 1_200  # half of the rows join the solve, all of them the passes
    problem.BLOCK = 250
    read, take = [], problem.Problem.take
    problem.Problem.take = lambda self, rows: (read.append(len(rows)), take(self, rows))[1]
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 4)).astype("f4")
    pool = (rng.normal(size=(2_403, 4)) + np.where(np.arange(2_403)[:, None] % 3, 1.5, 0.0)).astype("f4")
    found = align(
        real,
        pool,
        key=jax.random.key(0),
        kernel=rbf(2.0),
        regularization=3e-3,
        method="landmarks",
        tolerance=1e-5,
        mesh=mesh,
    )
    np.savez(options.out, weights=found.weights, rows_read=sum(read))


if __name__ == "__main__":
    main()
