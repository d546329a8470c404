"""Exact weighted MMD^2 and its gradient beside KeOps, and beside the machine's own matrix-product rate.

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
from synalign_jax.core.mmd import mmd2

WIDTH, SCALE = 384, 1.2


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


def product_rate(rows: int = 2_048) -> float:
    """FLOP/s of the matrix product that one block needs, by jax itself."""
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

    value(x[:64], u[:64])  # compiles
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
        result, seconds = timed(value, 3)
        _, gradient_seconds = timed(gradient, 3)
        # Half of x x', half of y y', and x y': what the value needs; the gradient needs two more of each.
        flops = 2.0 * 2 * rows * rows * WIDTH
        rate = product_rate()
        report(f"{rows:,} x {rows:,} x {WIDTH}, float32, weights on both sides, MMD^2 {result:.6e}")
        report(f"  ours, value               {seconds:8.2f} s  (first call, with compiling, {first:.2f} s)")
        report(f"  ours, value and gradients {gradient_seconds:8.2f} s  (first call {first_gradient:.2f} s)")
        report(f"  matrix products alone would take {flops / rate:.2f} s and {3 * flops / rate:.2f} s")
        report(
            f"  so the value runs at {flops / rate / seconds:.0%} and the gradient at"
            f" {3 * flops / rate / gradient_seconds:.0%} of jax's own product rate ({rate / 1e9:.0f} GFLOP/s)"
        )
        report(f"  peak memory over the inputs and the libraries: {peak_rss() - before:.2f} GiB")
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
