"""Exploration against the loops that people use today, and at a million rows.

    python benchmarks/explore.py [--quick] [--million]

Explores 10,605 x 384 real sentence embeddings with the same kernel everywhere; with --million a pool of
1,000,000 x 384 on disk instead, 1,000 rounds of 4. A peer that is not installed is skipped with a line.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _pools import NAMES, embeddings
from _report import Report, machine, peak_rss, timed

from synalign_jax.core.explore.exploration import Exploration
from synalign_jax.core.explore.explore import explore
from synalign_jax.core.explore.posterior import posterior_init, posterior_update
from synalign_jax.core.kernels import median_length_scale, rbf

KEY = jax.random.key(0)
NEIGHBORS = 4


def ours(rows: np.ndarray, scale: float, rounds: int, neighbors: int = NEIGHBORS, **settings) -> Exploration:
    settings = {"acquisition": "max_variance", "project": None, **settings}
    return explore(rows, rounds=rounds, neighbors=neighbors, key=KEY, kernel=rbf(scale), **settings)


def authors(rows: np.ndarray, scale: float, rounds: int, first: int) -> np.ndarray:
    """Refit, predict over the pool, nearest rows from a tree; the first pick, random there, is ours."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF
    from sklearn.neighbors import KDTree

    rows = rows.astype(np.float64)
    tree, process = KDTree(rows), GaussianProcessRegressor(RBF(scale), optimizer=None)
    clusters, seen = [], {}
    for round_ in range(rounds):
        center = first
        if round_:
            index = list(seen)
            deviation = process.fit(rows[index], np.zeros(len(index))).predict(rows, return_std=True)[1]
            deviation[index] = -1.0
            center = int(np.argmax(deviation))
        clusters.append(tree.query(rows[center : center + 1], k=NEIGHBORS + 1)[1][0])
        seen |= dict.fromkeys(clusters[-1].tolist())
    return np.array(clusters)


def linear_operator_picks(rows: np.ndarray, scale: float, picks: int) -> np.ndarray:
    import torch
    from gpytorch.kernels import RBFKernel

    kernel = RBFKernel()
    kernel.lengthscale = scale
    with torch.no_grad():
        operator = kernel(torch.from_numpy(rows))
        _, order = operator.pivoted_cholesky(rank=picks, error_tol=1e-12, return_pivots=True)
    return order[:picks].numpy()


def coreax_picks(rows: np.ndarray, scale: float, picks: int) -> np.ndarray:
    from coreax import Data
    from coreax.kernels import SquaredExponentialKernel
    from coreax.solvers import RPCholesky

    solver = RPCholesky(picks, random_key=KEY, kernel=SquaredExponentialKernel(length_scale=scale))
    coreset, _ = jax.block_until_ready(solver.reduce(Data(jnp.asarray(rows))))
    return np.asarray(coreset.unweighted_indices)


def against_the_authors(report: Report, rows: np.ndarray, scale: float, quick: bool) -> None:
    report(f"== the authors' loop, {rows.shape[0]:,} x {rows.shape[1]}, {NEIGHBORS + 1} rows a round")
    start = time.perf_counter()
    ours(rows, scale, 2)
    report(f"compile and first run: {time.perf_counter() - start:.2f} s")
    for rounds in (10, 20) if quick else (25, 50, 100):
        found, seconds = timed(lambda rounds=rounds: ours(rows, scale, rounds), repeats=5)
        theirs, their_seconds = timed(
            lambda rounds=rounds, found=found: authors(rows, scale, rounds, int(found.centers[0]))
        )
        same = np.mean(theirs[:, 0] == found.centers)
        same_rows = np.mean([set(a) == set(b) for a, b in zip(theirs, found.clusters, strict=True)])
        report(
            f"{rounds:4d} rounds: ours {seconds:.3f} s, theirs {their_seconds:.1f} s,"
            f" {their_seconds / seconds:.0f} times;"
            f" same centres {same:.0%}, same clusters {same_rows:.0%}"
        )
    for rounds in (200, 400):
        report(
            f"{rounds:4d} rounds: ours {timed(lambda rounds=rounds: ours(rows, scale, rounds), 3)[1]:.3f} s"
        )
    for acquisition in ("integrated_variance", "rim_variance"):
        ours(rows, scale, 2, acquisition=acquisition)
        seconds = timed(lambda a=acquisition: ours(rows, scale, 100, acquisition=a), 3)[1]
        report(f" 100 rounds: ours, {acquisition} {seconds:.3f} s")


def against_pivoted_cholesky(report: Report, rows: np.ndarray, scale: float, quick: bool) -> None:
    picks = 60 if quick else 500
    report(f"\n== pivoted Cholesky, {picks} single rows of the same pool")
    ours(rows, scale, 2, neighbors=0)
    found, seconds = timed(lambda: ours(rows, scale, picks, neighbors=0), repeats=5)
    left = explained(rows, scale, found.centers)
    report(f"ours {seconds:.3f} s; variance left {left:.5f} (mean over the pool)")
    for label, call in (
        ("gpytorch/linear_operator", linear_operator_picks),
        ("coreax RPCholesky", coreax_picks),
    ):
        try:
            chosen, first = timed(lambda call=call: call(rows, scale, picks))
        except ImportError as missing:
            report(f"{label}: skipped, {missing}")
            continue
        again = timed(lambda call=call: call(rows, scale, picks), repeats=2)[1]
        report(
            f"{label} {again:.3f} s (first call {first:.2f} s), {again / seconds:.1f} times ours;"
            f" variance left {explained(rows, scale, chosen):.5f};"
            f" shared picks {len(set(chosen.tolist()) & set(found.centers.tolist()))} of {picks}"
        )


def explained(rows: np.ndarray, scale: float, chosen: np.ndarray) -> float:
    state = posterior_init(rows - rows.mean(axis=0), rbf(scale), capacity=len(chosen))
    return float(jnp.mean(posterior_update(state, chosen).variance))


def accuracy(report: Report, rows: np.ndarray, scale: float, quick: bool) -> None:
    count, rows = (500, rows[:3_000]) if quick else (2_000, rows[:10_000])
    chosen = np.random.default_rng(0).permutation(len(rows))[:count].reshape(-1, 4)
    state = posterior_init(rows - rows.mean(axis=0), rbf(scale), capacity=count)
    state, _ = jax.jit(
        lambda s, blocks: jax.lax.scan(lambda s, b: (posterior_update(s, b), None), s, blocks)
    )(state, jnp.asarray(chosen))
    x = rows.astype(np.float64)
    squares = np.sum(x * x, axis=1)
    cross = np.exp(
        -np.maximum(squares[chosen.ravel()][:, None] + squares - 2 * x[chosen.ravel()] @ x.T, 0)
        / (2 * scale**2)
    )
    inner = cross[:, chosen.ravel()] + 1e-6 * np.eye(count)
    exact = 1.0 - np.sum(cross * np.linalg.solve(inner, cross), axis=0)
    error = np.abs(np.asarray(state.variance) - exact).max()
    report(
        f"\n== float32 against float64 direct solves: {count:,} observed of {len(rows):,} rows"
        f"\nlargest error {error:.1e}; smallest variance {float(state.variance.min()):.1e}"
    )


def million(report: Report, rows: int, rounds: int) -> None:
    """A pool as varied as real text: every row mixes a real embedding with a near one and small noise."""
    real = np.concatenate([embeddings(name, 10_605 if name == "movies" else 4_000) for name in NAMES])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.npy"
        pool = np.lib.format.open_memmap(path, "w+", np.float32, (rows, real.shape[1]))
        for start in range(0, rows, 50_000):
            size = min(50_000, rows - start)
            base = real[rng.integers(0, len(real), size)]
            other = real[rng.integers(0, len(real), size)]
            share = rng.beta(1.0, 3.0, size=(size, 1)).astype(np.float32)
            mixed = (1 - share) * base + share * other
            mixed += 0.02 * rng.standard_normal((size, real.shape[1]), dtype=np.float32)
            pool[start : start + size] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        pool.flush()
        del pool
        mapped = np.load(path, mmap_mode="r")
        scale = median_length_scale(mapped)
        _, one_pass = timed(
            lambda: sum(float(mapped[i : i + 65_536].sum()) for i in range(0, rows, 65_536)), 3
        )
        report(
            f"\n== {rows:,} x {real.shape[1]} float32, memory-mapped, {rounds} rounds of 4, space as given"
        )
        worked = time.process_time()
        found, seconds = timed(lambda: ours(mapped, scale, rounds, neighbors=3))
        worked = time.process_time() - worked
        dense = rows * len(found.centers)
        report(
            f"{seconds:.0f} s ({seconds / len(found.centers):.3f} s a round; one summing pass over the pool"
            f" takes {one_pass:.3f} s); {worked:.0f} s of processor time;"
            f" {found.status}; peak memory {peak_rss():.1f} GiB"
            f"\nrecomputed {found.recomputed:,} variances,"
            f" {found.recomputed / dense:.1%} of the {dense:,} of a dense loop"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows")
    parser.add_argument("--million", action="store_true", help="only the million-row pool")
    options = parser.parse_args()
    with Report("explore-million" if options.million else "explore") as report:
        report(
            machine("jax", "synalign-jax", "scikit-learn", "gpytorch", "linear_operator", "coreax", "torch")
        )
        if options.million:
            million(report, *((100_000, 50) if options.quick else (1_000_000, 1_000)))
            return
        rows = embeddings("movies", 10_605)
        scale = median_length_scale(rows)
        report(f"RBF, length scale {scale:.3f} (the median distance), maximum variance\n")
        against_the_authors(report, rows, scale, options.quick)
        against_pivoted_cholesky(report, rows, scale, options.quick)
        accuracy(report, rows, scale, options.quick)
        report(f"peak memory {peak_rss():.1f} GiB")


if __name__ == "__main__":
    main()
