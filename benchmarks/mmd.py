"""Exact weighted MMD^2 and its gradient beside KeOps, and beside the matrix products that they need.

    python benchmarks/mmd.py [--quick] [--rows N] [--keops-rows N]

KeOps needs minutes at 20,000 rows; its cost is quadratic in the rows (the script measures it at two sizes,
which shows it), so by default it runs at fewer rows and is scaled. `--keops-rows 20000` runs it in full.
"""

from __future__ import annotations

import argparse
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
from _report import Report, machine, peak_rss, timed

from synalign_jax.core.kernels import rbf
from synalign_jax.core.mmd.mmd import mmd2

WIDTH, SCALE = 384, 1.2
REPEATS = 5


def sets(rows: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, rows, WIDTH)).astype("f4")
    y += 0.1
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    u, v = rng.uniform(size=(2, rows)).astype("f4")
    return x, y, u / u.sum(), v / v.sum()


def ours(rows: int):
    x, y, u, v = (jnp.asarray(a) for a in sets(rows))

    def value(x, y, u, v):
        return mmd2(x, y, x_weights=u, y_weights=v, kernel=rbf(SCALE))

    one = jax.jit(value)
    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2, 3)))
    return (lambda: float(one(x, y, u, v))), (lambda: jax.block_until_ready(both(x, y, u, v)))


def products(rows: int, block: int = 1_000):
    """The matrix products alone that the value, and value and gradients, need: block by block."""
    x, y, _, _ = sets(rows)
    count = rows // block
    both = [jnp.asarray(a).reshape(count, block, WIDTH) for a in (x, y)]
    pairs = [(a, i, a, j) for a in (0, 1) for i in range(count) for j in range(i, count)]
    pairs += [(0, i, 1, j) for i in range(count) for j in range(count)]
    steps = jnp.asarray(pairs, jnp.int32)

    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        # The barrier keeps XLA from computing only what is read.
        return jax.lax.optimization_barrier(jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST))

    def sweep(points: jax.Array, slopes: bool) -> jax.Array:
        def step(total: jax.Array, pair: jax.Array) -> tuple[jax.Array, None]:
            a, b = points[pair[0], pair[1]], points[pair[2], pair[3]]
            values = multiply(a, b.T)
            total += values[0, 0]
            if slopes:
                total += multiply(values, b)[0, 0] + multiply(a.T, values)[0, 0]
            return total, None

        return jax.lax.scan(step, jnp.zeros(()), steps)[0]

    run = jax.jit(sweep, static_argnums=1)
    points = jnp.stack(both)
    return (lambda: run(points, False).block_until_ready()), (lambda: run(points, True).block_until_ready())


def cached_rate(rows: int = 2_048) -> float:
    """FLOP/s of one product repeated, whose rows stay in the cache: the most that jax reaches."""
    a = jnp.asarray(np.random.default_rng(0).normal(size=(rows, WIDTH)), jnp.float32)
    repeated = jax.jit(
        lambda a: jax.lax.fori_loop(
            0,
            20,
            lambda i, s: s + jnp.matmul(a + i * 1e-9, a.T, precision=jax.lax.Precision.HIGHEST)[0, 0],
            0.0,
        )
    )
    repeated(a).block_until_ready()
    return 20 * 2 * rows * rows * WIDTH / timed(lambda: repeated(a).block_until_ready(), 5)[1]


def keops(rows: int) -> tuple[float, float, float]:
    """Value and seconds of value and of gradient with respect to x and u."""
    import torch
    from pykeops.torch import LazyTensor

    x, y, u, v = (torch.tensor(a) for a in sets(rows))

    def value(x, u):
        def form(a, b, p, q):
            distance = ((LazyTensor(a[:, None]) - LazyTensor(b[None])) ** 2).sum(-1)
            return p @ ((-distance / (2 * SCALE**2)).exp() @ q[:, None])[:, 0]

        return form(x, x, u, u) + form(y, y, v, v) - 2 * form(x, y, u, v)

    few = [tensor[:64].clone().requires_grad_() for tensor in (x, u)]
    torch.autograd.grad(value(*few), few)  # compiles
    result, forward = timed(lambda: float(value(x, u)))
    a, p = x.clone().requires_grad_(), u.clone().requires_grad_()
    total = value(a, p)
    _, backward = timed(lambda: torch.autograd.grad(total, (a, p)))
    return result, forward, backward


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--keops-rows", type=int, default=2_000)
    options = parser.parse_args()
    rows = 4_000 if options.quick else options.rows
    peer_rows = 1_000 if options.quick else options.keops_rows
    with Report("mmd") as report:
        report(machine("jax", "pykeops", "torch"))
        before = peak_rss()
        value, gradient = ours(rows)
        (_, first), (_, first_gradient) = timed(value), timed(gradient)
        result = value()
        peak = peak_rss() - before
        alone, alone_gradient = products(rows)
        alone(), alone_gradient()
        each = np.array(
            [[timed(call)[1] for call in (value, alone, gradient, alone_gradient)] for _ in range(REPEATS)]
        )
        seconds, alone_seconds, gradient_seconds, alone_gradient_seconds = np.median(each, axis=0)
        shares = np.median(each[:, 1::2] / each[:, ::2], axis=0)
        # Half of x x', half of y y', and x y': what the value needs; the gradient needs two more of each.
        flops = 2.0 * 2 * rows * rows * WIDTH
        rate = cached_rate()
        report(f"{rows:,} x {rows:,} x {WIDTH}, float32, weights on both sides, MMD^2 {result:.6e}")
        report(f"  ours, value               {seconds:8.2f} s  (first call, with compiling, {first:.2f} s)")
        report(f"  ours, value and gradients {gradient_seconds:8.2f} s  (first call {first_gradient:.2f} s)")
        report(
            f"  the products that they need, alone, by jax in such blocks, in turn with ours {REPEATS} times:"
        )
        report(
            f"    {alone_seconds:.2f} s and {alone_gradient_seconds:.2f} s, so the value runs at"
            f" {shares[0]:.0%} and the gradient at {shares[1]:.0%} of their rate"
        )
        report(
            f"  of the rate of one product repeated in the cache ({rate / 1e9:.0f} GFLOP/s):"
            f" {flops / rate / seconds:.0%} and {3 * flops / rate / gradient_seconds:.0%}"
        )
        report(f"  peak memory over the inputs and the libraries: {peak:.2f} GiB")
        if importlib.util.find_spec("pykeops") is None:
            report("KeOps is not installed; skipped")
            return
        exact, forward, backward = keops(peer_rows)
        _, half_forward, half_backward = keops(peer_rows // 2)
        ours_value, _ = ours(peer_rows)
        small = ours_value()
        scale = (rows / peer_rows) ** 2
        report(f"KeOps (CPU) at {peer_rows:,} rows: value {forward:.2f} s, gradient {backward:.2f} s")
        report(
            f"  from {peer_rows // 2:,} to {peer_rows:,} rows its time grew {forward / half_forward:.1f} and"
            f" {backward / half_backward:.1f} times (quadratic: 4)"
        )
        report(f"  MMD^2 {exact:.6e}, ours {small:.6e}")
        report(f"  scaled to {rows:,} rows: value {forward * scale:.0f} s, gradient {backward * scale:.0f} s")
        report(f"  ours is {forward * scale / seconds:.0f} times faster for the value,")
        report(f"  {(forward + backward) * scale / gradient_seconds:.0f} times for value and gradient")


if __name__ == "__main__":
    main()
