"""How well the chosen demonstrations cover real pools: the paper's figures 4 and 5, and our goal.

    python benchmarks/coverage.py [--quick]

"paper" is maximum variance in the space as given with length scale 0.1, the default of the authors' code.
Intervals are 95% of the mean over seeds, which draw the pool's rows and the first pick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import jax
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from _pools import NAMES, embeddings
from _report import RESULTS, Report, machine
from scipy.spatial import ConvexHull, QhullError

from synalign_jax.core.explore.explore import explore
from synalign_jax.core.kernels import median_length_scale, rbf
from synalign_jax.core.pca import principal_components

SIZES = (10, 20, 30, 60, 120)
HULLS = (2, 3, 5)


class Pool:
    """Rows of one pool and the measures of a choice from it; the measures equal core/coverage.py's."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.scale = median_length_scale(rows)
        self._points = principal_components(rows, max(HULLS)).project(rows).astype(np.float64)
        self._volumes = {d: ConvexHull(self._points[:, :d]).volume for d in HULLS}
        self.cosines = rows @ rows.T

    def measure(self, chosen: np.ndarray) -> np.ndarray:
        """(hull in 2, 3, 5 dimensions, best cosine)."""
        hulls = [self._volume(self._points[chosen, :d]) / self._volumes[d] for d in HULLS]
        return np.array([*hulls, self.cosines[:, chosen].max(axis=1).mean()])

    @staticmethod
    def _volume(points: np.ndarray) -> float:
        try:
            return float(ConvexHull(points).volume) if len(points) > points.shape[1] else 0.0
        except QhullError:
            return 0.0


Chooser = Callable[[Pool, int, int], np.ndarray]


def ours(neighbors: int = 0, scale: float | None = None, **settings: object) -> Chooser:
    """Rows in the order in which they are shown; `scale` in medians of the pool's distances."""

    def choose(pool: Pool, size: int, seed: int) -> np.ndarray:
        kernel = None if scale is None else rbf(scale * pool.scale)
        found = explore(
            pool.rows,
            rounds=-(-size // (neighbors + 1)),
            neighbors=neighbors,
            key=jax.random.key(seed),
            kernel=kernel,
            **settings,
        )
        return found.clusters.ravel()

    return choose


def paper(pool: Pool, size: int, seed: int) -> np.ndarray:
    found = explore(
        pool.rows,
        rounds=size,
        neighbors=0,
        key=jax.random.key(seed),
        kernel=rbf(0.1),
        acquisition="max_variance",
        project=None,
    )
    return found.clusters.ravel()


def random(pool: Pool, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(len(pool.rows))[:size]


def facility_location(pool: Pool, size: int) -> np.ndarray:
    """Greedy on the full similarity matrix: near the best cosine that any choice can reach."""
    best, chosen = np.full(len(pool.rows), -1.0, np.float32), []
    for _ in range(size):
        gains = sum(
            np.maximum(block - best[i : i + 500, None], 0.0).sum(axis=0)
            for i in range(0, len(best), 500)
            for block in [pool.cosines[i : i + 500]]
        )
        chosen.append(int(np.argmax(gains)))
        best = np.maximum(best, pool.cosines[:, chosen[-1]])
    return np.array(chosen)


CHOOSERS: dict[str, Chooser] = {
    "default": ours(),
    "default, clusters of 4": ours(neighbors=3),
    "integrated variance": ours(acquisition="integrated_variance"),
    "maximum variance, 5 PCA dims": ours(acquisition="max_variance", project=5),
    "maximum variance, space as given": ours(acquisition="max_variance", project=None),
    "paper (length scale 0.1)": paper,
    "random": random,
}


def curves(pool: Pool, chooser: Chooser, seed: int) -> np.ndarray:
    """(sizes, measures)."""
    chosen = chooser(pool, max(SIZES), seed)
    return np.array([pool.measure(chosen[:size]) for size in SIZES])


def interval(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 seeds, 2,000 rows, no sweeps")
    quick = parser.parse_args().quick
    seeds, rows = range(2 if quick else 5), 2_000 if quick else 4_000
    with Report("coverage") as report:
        report(machine("jax", "synalign-jax", "numpy"))
        report(f"{rows} rows a seed, {len(seeds)} seeds; mean +- half width of the 95% interval\n")
        every: dict[str, dict[str, np.ndarray]] = {}
        reached = {}
        for name in NAMES:
            everything = embeddings(name, 10_605 if name == "movies" else 4_000)
            pools = [
                Pool(everything[np.random.default_rng(seed).permutation(len(everything))[: int(0.9 * rows)]])
                for seed in seeds
            ]
            found = {
                label: np.array([curves(p, chooser, s) for p, s in zip(pools, seeds, strict=True)])
                for label, chooser in CHOOSERS.items()
            }
            draws = np.array([[curves(p, random, 100 + i) for i in range(20)] for p in pools]).mean(axis=1)
            found["random"] = draws
            limit = np.array([p.measure(facility_location(p, 30))[-1] for p in pools])
            every[name] = found
            report(f"== {name}")
            report(
                f"{'':34s}{'rows':>5s}"
                + "".join(f"{f'hull {d}d':>16s}" for d in HULLS)
                + f"{'best cosine':>18s}"
            )
            for label, values in found.items():
                for i, size in enumerate(SIZES):
                    cells = [interval(values[:, i, j]) for j in range(4)]
                    row = (
                        "".join(f"{m:10.3f} +-{h:.3f}" for m, h in cells[:3])
                        + f"{cells[3][0]:11.4f} +-{cells[3][1]:.4f}"
                    )
                    report(f"{label if i == 0 else '':34s}{size:5d}{row}")
            report(f"facility location at 30 rows: best cosine {limit.mean():.4f}")
            hull, cosine = found["default"][:, SIZES.index(30), 0], found["default"][:, SIZES.index(30), 3]
            hull_goal, cosine_goal = draws[:, SIZES.index(120), 0], draws[:, SIZES.index(60), 3]
            good = hull.mean() >= hull_goal.mean() and cosine.mean() >= cosine_goal.mean()
            reached[name] = good
            report(
                f"goal, 30 rows by default: hull {hull.mean():.3f} (random at 120: {hull_goal.mean():.3f});"
                f" best cosine {cosine.mean():.4f} (random at 60: {cosine_goal.mean():.4f};"
                f" {cosine.mean() / limit.mean():.1%} of facility location):"
                f" {'reached' if good else 'MISSED'}"
            )
            seedwise = np.mean((hull >= hull_goal) & (cosine >= cosine_goal))
            report(f"goal reached on {seedwise:.0%} of the seeds\n")
        report(
            "goal: " + ", ".join(f"{name} {'reached' if ok else 'MISSED'}" for name, ok in reached.items())
        )
        picture(every)
        if not quick:
            sweeps(report, {name: embeddings(name, 2_000) for name in NAMES})


def picture(every: dict[str, dict[str, np.ndarray]]) -> None:
    """Coverage against demonstrations (figure 4)."""
    figure, axes = plt.subplots(2, len(every), figsize=(3.4 * len(every), 6), sharex=True, squeeze=False)
    for column, (name, found) in enumerate(every.items()):
        for label, values in found.items():
            for row, measure in ((0, 0), (1, 3)):
                mean = values[:, :, measure].mean(axis=0)
                spread = 1.96 * values[:, :, measure].std(axis=0, ddof=1) / np.sqrt(len(values))
                axes[row, column].plot(SIZES, mean, label=label, linewidth=1.2)
                axes[row, column].fill_between(SIZES, mean - spread, mean + spread, alpha=0.15)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("demonstrations")
    axes[0, 0].set_ylabel("share of the 2-D hull")
    axes[1, 0].set_ylabel("mean best cosine")
    axes[1, -1].legend(fontsize=6, loc="lower right")
    save(figure, "coverage")


def sweeps(report: Report, pools: dict[str, np.ndarray]) -> None:
    """Coverage at 30 rows against length scale (figure 5) and against projection dimension."""
    scales, dims = (0.1, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0), (2, 3, 5, 10, 20, 50, 100, None)
    figure, axes = plt.subplots(2, 2, figsize=(9, 6))
    for title, row, choices in (("length scale / median distance", 0, scales), ("PCA dimensions", 1, dims)):
        report(f"\n== sweep over {title}, 30 rows, one seed of 2,000 rows: 2-D hull / best cosine")
        for acquisition in ("rim_variance", "integrated_variance", "max_variance"):
            for name, rows in pools.items():
                pool = Pool(rows)
                values = np.array(
                    [
                        pool.measure(
                            (
                                ours(acquisition=acquisition, project=None, scale=choice)
                                if row == 0
                                else ours(acquisition=acquisition, project=choice)
                            )(pool, 30, 0)
                        )
                        for choice in choices
                    ]
                )
                cells = "  ".join(f"{c}: {v[0]:.2f}/{v[3]:.3f}" for c, v in zip(choices, values, strict=True))
                report(f"{acquisition:20s} {name:11s} {cells}")
                style = {"rim_variance": "-", "integrated_variance": "--", "max_variance": ":"}[acquisition]
                for column, measure in ((0, 0), (1, 3)):
                    axes[row, column].plot(
                        [str(c) for c in choices], values[:, measure], style,
                        color=f"C{list(pools).index(name)}", label=f"{name}, {acquisition}",
                    )  # fmt: skip
        for column, label in ((0, "share of the 2-D hull"), (1, "mean best cosine")):
            axes[row, column].set(xlabel=title, ylabel=label)
    axes[1, 1].legend(fontsize=4)
    save(figure, "coverage-sweeps")


def save(figure: plt.Figure, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
