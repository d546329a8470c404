"""Weights and resampling: beside coreax and goodpoints, and pools up to 1,000,000 rows.

    python benchmarks/align.py [--quick] [--only peers|large|resample] [--rows N]

Real rows and pools are MiniLM embeddings of texts from installed packages. Larger pools are made by mixing an
embedding with another of its domain (0.8 and 0.2), adding noise of norm 0.1, and normalising: every row is
distinct, and the two domains stay apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _pools import embeddings, noise
from _report import Report, machine, peak_rss, timed
from scipy.optimize import minimize

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.kernels import Kernel, gram, pooled_rbf
from synalign_jax.core.mmd.mmd import mmd2
from synalign_jax.core.resample import resample

KEY = jax.random.key(0)


def problem(n: int, m: int) -> tuple[np.ndarray, np.ndarray, Kernel]:
    """n film-review sentences; a pool of m rows, a quarter of that kind and the rest newsgroup posts."""
    mine, others = embeddings("movies"), embeddings("newsgroups")
    real, mine = mine[:n], mine[n + 1_000 :]
    pool = np.concatenate([grow(mine, m // 4, 0), grow(others, m - m // 4, 1)])
    pool = pool[np.random.default_rng(0).permutation(m)]
    return real, pool, pooled_rbf(jnp.asarray(real), jnp.asarray(pool[:512]))


def grow(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    if count <= len(rows):
        return rows[:count]
    rng = np.random.default_rng(seed)
    out = np.empty((count, rows.shape[1]), np.float32)
    for start in range(0, count, 65_536):
        size = min(65_536, count - start)
        first, second = rng.integers(len(rows), size=(2, size))
        noise = rng.normal(size=(size, rows.shape[1])).astype("f4") * np.float32(0.1 / rows.shape[1] ** 0.5)
        mixed = 0.8 * rows[first] + 0.2 * rows[second] + noise
        out[start : start + size] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return out


def exact_value(real: np.ndarray, pool: np.ndarray, weights: np.ndarray, kernel: Kernel) -> float:
    return float(mmd2(real, pool, y_weights=weights.astype(np.float64), kernel=kernel))


def peers(report: Report, quick: bool) -> None:
    n, m = (500, 1_000) if quick else (2_000, 4_000)
    real, pool, kernel = problem(n, m)
    report(f"\nUnregularised weights, real {n:,}, pool {m:,}")
    _, first = timed(lambda: align(real, pool, key=KEY, kernel=kernel, regularization=0.0))
    found, seconds = timed(lambda: align(real, pool, key=KEY, kernel=kernel, regularization=0.0), 3)
    report(f"  ours    {seconds:8.2f} s  (first call, with compiling, {first:.2f} s)")
    report(
        f"          MMD^2 {found.mmd2_after:.4e}, optimum at most {found.gap / found.mmd2_after:.2%} below"
    )
    _, automatic = timed(lambda: align(real, pool, key=KEY, kernel=kernel))
    _, automatic = timed(lambda: align(real, pool, key=KEY, kernel=kernel))
    report(f"  ours, with cross-validated penalty {automatic:.2f} s")
    if importlib.util.find_spec("coreax") is None:
        report("  coreax is not installed; skipped")
        return
    from coreax import Data, SquaredExponentialKernel
    from coreax.weights import MMDWeightsOptimiser

    optimiser = MMDWeightsOptimiser(SquaredExponentialKernel(length_scale=float(kernel.scale)))
    target, rows = Data(jnp.asarray(real)), Data(jnp.asarray(pool))
    peer, peer_seconds = timed(lambda: np.maximum(np.asarray(optimiser.solve(target, rows)), 0.0))
    value = exact_value(real, pool, peer, kernel)
    above = value / (found.mmd2_after - found.gap) - 1
    report(f"  coreax  {peer_seconds:8.2f} s  MMD^2 {value:.4e}, {above:.1%} above the certified bound")
    report(f"  ours is {peer_seconds / seconds:.1f} times faster")


def large(report: Report, quick: bool, rows: int) -> None:
    for m in (20_000,) if quick else (20_000, 100_000, rows):
        real, pool, kernel = problem(2_000, m)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pool.npy"
            np.save(path, pool)
            del pool
            one_pool(report, real, np.load(path, mmap_mode="r"), kernel)


def one_pool(report: Report, real: np.ndarray, pool: np.memmap, kernel: Kernel) -> None:
    m = len(pool)
    fresh = embeddings("movies")[2_000:3_000]
    found, seconds = timed(lambda: align(real, pool, key=KEY, kernel=kernel))
    gamma, power = next(iter(found.regularization.values())), found.spectral_power
    space = found.groups[0].space
    report(f"\nPool {m:,} x 384, memory-mapped, real 2,000, gamma by cross-validation")
    report(f"  {seconds:.1f} s with compiling, peak memory {peak_rss():.2f} GiB; {found.status}")
    report(f"  MMD^2 {found.mmd2_before:.3e} -> {found.mmd2_after:.3e}, objective {found.objective:.4e},")
    report(f"  optimum certified at most {found.gap / found.objective:.1%} below;")
    report(
        f"  spectral power {power:g} ({'all' if space is None else space.axes.shape[1]} dimensions),"
        f" gamma {gamma:.2e}, effective sample size {found.ess:,.0f}"
    )
    report(f"  held-out MMD^2 to 1,000 fresh real rows {heldout(fresh, pool, found, kernel):.3e}")
    if m > 20_000:
        part = np.sort(np.random.default_rng(1).permutation(m)[:20_000])
        small = align(real, pool[part], key=KEY, kernel=kernel, method="exact")
        value = heldout(fresh, pool[part], small, kernel)
        report(f"  exact solver, gamma of its own, on 20,000 of these rows: {value:.3e}")
    if m > 100_000:
        return
    seen_real, seen_pool = real, np.asarray(pool)
    if space is not None:
        seen_real, seen_pool = (np.asarray(space(jnp.asarray(rows))) for rows in (seen_real, seen_pool))
    objective, gap = certificate(seen_real, seen_pool, found.weights, kernel, gamma)
    report(f"  by exact kernel sums {objective:.4e}, the optimum at most {gap / objective:.2%} below")
    if m > 20_000:
        return
    full, slow = timed(
        lambda: align(
            real, pool, key=KEY, kernel=kernel, regularization=gamma, spectral_power=power, method="exact"
        )
    )
    objectives = [
        exact_value(seen_real, seen_pool, a.weights, kernel) + gamma * (m / a.ess - 1) for a in (found, full)
    ]
    report(
        f"  exact solver at that gamma: {slow:.1f} s, gap {full.gap / objectives[1]:.2%} of its objective;"
    )
    report(
        f"  by exact kernel sums the landmark weights are {objectives[0] / objectives[1] - 1:.2%} above it"
    )
    report(f"  whose held-out MMD^2 is {heldout(fresh, pool, full, kernel):.3e}")


def heldout(fresh: np.ndarray, pool: np.ndarray, found: Alignment, kernel: Kernel) -> float:
    """MMD^2 of the weighted rows to fresh ones; of many rows estimated from 40,000 systematic draws."""
    if len(pool) <= 40_000:
        return exact_value(fresh, pool, found.weights, kernel) - noise(fresh, kernel)
    drawn = pool[np.sort(resample(found.weights, 40_000, key=KEY, method="systematic"))]
    # Draws count their own diagonal at 1 / 40,000 where the weights do at 1 / ess.
    excess = noise(drawn, kernel) * (1.0 - len(drawn) / found.ess)
    return float(mmd2(fresh, drawn, kernel=kernel)) - noise(fresh, kernel) - excess


def certificate(
    real: np.ndarray, pool: np.ndarray, weights: np.ndarray, kernel: Kernel, gamma: float, passes: int = 8
) -> tuple[float, float]:
    """The objective by exact kernel sums over the whole pool, and how far below it the optimum can be.

    For every h, w'Kw >= 2 w'h - |h|^2, so minimising the right side plus the penalty over the simplex bounds
    the optimum from below. h is sought in the span of the witnesses at the weights and at what each such
    minimisation gives: a pass over all pairs of rows for each.
    """
    rho = gamma * len(pool)
    witness = exact_witness(real, pool, kernel)
    points, heights = [weights.astype(np.float64)], []
    objective = lower = float("nan")
    for _ in range(passes):
        heights.append(witness(points[-1]))
        if len(heights) == 1:
            objective = float(heights[0] @ points[0] + rho * points[0] @ points[0]) - gamma
        cross = np.stack(heights, axis=1)
        within = np.stack(points) @ cross

        def falling(v: np.ndarray, cross: np.ndarray = cross, within: np.ndarray = within) -> tuple:
            bound, inner = inner_minimum(cross @ v, rho)
            return v @ within @ v - bound, 2.0 * (within @ v - inner @ cross)

        found = minimize(falling, np.eye(len(heights))[-1], jac=True, method="BFGS", options={"gtol": 1e-12})
        lower = -float(found.fun) - gamma
        points.append(inner_minimum(cross @ found.x, rho)[1])
    return objective, objective - lower


def exact_witness(real: np.ndarray, pool: np.ndarray, kernel: Kernel) -> Callable[[np.ndarray], np.ndarray]:
    """Of weights, <phi(e_j) - mu, sum_l w_l phi(e_l) - mu> for every row j, mu the mean of the real rows."""
    product = jax.jit(lambda rows, others, v: gram(kernel, rows, others) @ v)

    def sums(v: np.ndarray, others: np.ndarray) -> np.ndarray:
        held = np.flatnonzero(v)
        columns, values = jnp.asarray(others[held]), jnp.asarray(v[held], jnp.float32)
        out = np.empty(len(pool))
        for start in range(0, len(pool), 2_048):
            rows = jnp.asarray(pool[start : start + 2_048])
            out[start : start + 2_048] = sum(
                np.asarray(product(rows, columns[i : i + 16_384], values[i : i + 16_384]), np.float64)
                for i in range(0, len(held), 16_384)
            )
        return out

    mean = np.full(len(real), 1.0 / len(real))
    attraction = sums(mean, real)
    within = float(jnp.mean(gram(kernel, jnp.asarray(real), jnp.asarray(real))))
    return lambda w: sums(w, pool) - attraction - float(attraction @ w) + within


def inner_minimum(h: np.ndarray, rho: float) -> tuple[float, np.ndarray]:
    """A lower bound of the least 2 h'w + rho |w|^2 over the simplex, and the w that nearly reaches it."""
    low, high = h.min(), h.min() + 2.0 * rho  # of the multiplier: h_j - nu + rho w_j = 0 where w_j > 0
    for _ in range(100):
        nu = 0.5 * (low + high)
        low, high = (nu, high) if np.maximum(nu - h, 0.0).sum() / rho < 1.0 else (low, nu)
    inner = np.maximum(nu - h, 0.0) / rho
    return float(2.0 * nu + 2.0 * (h - nu) @ inner + rho * inner @ inner), inner


def resampling(report: Report, quick: bool) -> None:
    m = 1_024 if quick else 4_096
    real, pool, kernel = problem(200, m)
    found = align(real, pool, key=KEY, kernel=kernel)
    weights = found.weights
    report(f"\nResampling from {m:,} weighted rows, ess {found.ess:.0f}; MMD^2 to the weighted pool")
    for size in (64, m // 8):
        line = {}
        for method in ("independent", "systematic", "herding"):

            def draw(seed: int, size: int = size, method: str = method) -> np.ndarray:
                key = jax.random.key(seed)
                return resample(
                    weights,
                    size,
                    key=key,
                    embeddings=pool,
                    kernel=kernel,
                    method=method,
                    distinct=method == "herding",
                )

            draw(0)
            _, seconds = timed(lambda draw=draw: draw(0), 3)
            picks = [draw(seed) for seed in range(1 if method == "herding" else 5)]
            values = [float(mmd2(pool[p], pool, y_weights=weights, kernel=kernel)) for p in picks]
            line[method] = np.mean(values)
            report(f"  {size:5} rows, {method:12} {np.mean(values):.3e}  {seconds:.3f} s")
        report(
            f"        herding is {line['independent'] / line['herding']:.1f} times below independent draws"
        )
    size = min(round(found.ess), np.count_nonzero(weights))
    report(f"  at the effective sample size ({size}) MMD^2 to the real rows, over that of the weights:")
    for distinct in (False, True):
        picks = resample(weights, size, key=KEY, embeddings=pool, kernel=kernel, distinct=distinct)
        ratio = exact_value(real, pool[picks], np.ones(size), kernel) / found.mmd2_after
        report(f"    {ratio:.3f} with {len(np.unique(picks)):,} distinct rows")
    if importlib.util.find_spec("goodpoints") is None:
        report("  goodpoints is not installed; skipped")
        return
    from goodpoints.compress import compresspp_kt

    scale = np.array([float(kernel.scale) ** 2 * 2])
    points = pool.astype(np.float64)
    compresspp_kt(points[:256], b"gaussian", k_params=scale, g=2, seed=0)
    picks, seconds = timed(lambda: compresspp_kt(points, b"gaussian", k_params=scale, g=4, seed=0))
    resample(np.ones(m), len(picks), key=KEY, embeddings=pool, kernel=kernel, method="herding")
    mine, own_seconds = timed(
        lambda: resample(np.ones(m), len(picks), key=KEY, embeddings=pool, kernel=kernel, method="herding")
    )
    values = [float(mmd2(pool[p], pool, kernel=kernel)) for p in (picks, mine)]
    report(f"  unweighted, {len(picks)} of {m:,}: goodpoints Compress++ {values[0]:.3e} in {seconds:.2f} s,")
    report(f"  ours (herding) {values[1]:.3e} in {own_seconds:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("peers", "large", "resample"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    name = "align" if options.only is None else f"align-{options.only}"
    with Report(name) as report:
        report(machine("jax", "coreax", "goodpoints"))
        if options.only in (None, "peers"):
            peers(report, options.quick)
        if options.only in (None, "resample"):
            resampling(report, options.quick)
        if options.only in (None, "large"):
            large(report, options.quick, options.rows)


if __name__ == "__main__":
    main()
