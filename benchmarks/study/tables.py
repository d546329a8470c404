"""The study's tables and pictures from its finished cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks._report import RESULTS, Report, machine
from synalign_jax.evaluation import svg

from .arms import ALIGN, ARMS, BASELINES, BOTH, CHOICE, IDEAL, PAPER, POOL, REAL
from .cells import DEVELOPED, SIX, bits
from .statistics import Cell, Results, summarised

_SINGLE = (BOTH, *BASELINES, ALIGN, PAPER)
"""What one would do without a choice."""


def write(records: Iterable[dict[str, Any]]) -> None:
    """Write benchmarks/results/study.txt and a picture of the gains."""
    found = Results(records)
    with Report("study") as report:
        report(machine("jax", "scikit-learn", "synalign-jax"))
        _means(report, found)
        _against_real(report, found)
        _against_baselines(report, found)
        _against_pool(report, found)
        _six(report, found)
        _spoilt(report, found)
        _verdicts(report, found)
    picture = _picture(found)
    if picture is not None:
        (RESULTS / "study.svg").write_text(picture, encoding="utf-8")


def _sizes(found: Results, part: str) -> list[int]:
    return sorted({cell[3] for cell in found.by if cell[0] == part})


def _halves(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    """All cells, those of pools that the rule was developed on, and those of the others."""
    developed = [c for c in cells if c[2] in DEVELOPED]
    parts = (
        ("all", cells),
        ("developed on", developed),
        ("others", [c for c in cells if c not in developed]),
    )
    return [(name, some) for name, some in parts if some]


def _means(report: Report, found: Results) -> None:
    report(
        "\nPublished pools: accuracy of real, and gain over it in points, mean over cells (pool x student);"
    )
    report("each arm on the seeds that it has in common with real (seeds, cells)")
    for size in _sizes(found, "published"):
        for student in ("linear", "mlp", "encoder"):
            for task in sorted({c[1] for c in found.cells("published", REAL, size=size, student=student)}):
                cells = [
                    c for c in found.cells("published", REAL, size=size, student=student) if c[1] == task
                ]
                base = np.mean([found.accuracy(c, REAL) for c in cells])
                report(f"  {size:5,} real rows, {task}, {student}: real {base:.3f}")
                for arm in ARMS[1:]:
                    own = [c for c in cells if found.seeds(c, REAL, arm)]
                    if own:
                        gains = [found.difference(c, arm, REAL) for c in own]
                        report(
                            f"      {arm:22} {np.mean([g.points for g in gains]):+6.2f}"
                            f"   ({max(g.seeds for g in gains)} seeds, {len(own)} cells)"
                        )


def _against_real(report: Report, found: Results) -> None:
    report(
        "\nAgainst real rows alone, published pools: cells significantly worse or better (|z| > 1.96), gain"
    )
    for arm in (CHOICE, *_SINGLE):
        for size in _sizes(found, "published"):
            # Of the project's own choice both halves, of the others all cells together.
            for half, cells in _halves(found.cells("published", REAL, arm, size=size))[
                : None if arm == CHOICE else 1
            ]:
                gains = [found.difference(c, arm, REAL) for c in cells]
                pairs = zip(cells, gains, strict=True)
                worse = [f"{c[2]} {c[4]} {g.points:+.1f}" for c, g in pairs if g.worse]
                report(
                    f"  {arm:22} {size:5,} real rows, {half:12}: {len(worse):2} worse,"
                    f" {sum(g.better for g in gains):2} better of {len(cells)};"
                    f" {np.mean([g.points for g in gains]):+.2f} points"
                    + (f"   worse: {', '.join(worse[:6])}" if worse else "")
                )


def _against_baselines(report: Report, found: Results) -> None:
    report(
        "\nThis project's choice less each baseline (all beside the real rows), published pools: all cells,"
    )
    report("of pools that the candidates were developed on (FewGen, two LLMs), and of the others (four LLMs)")
    report("(averaging was picked among a dozen variants on 21 draws, some of these four among them)")
    for arm in _SINGLE:
        for half, cells in _halves(found.cells("published", CHOICE, arm)):
            gains = [found.difference(c, CHOICE, arm) for c in cells]
            points = np.array([g.points for g in gains])
            report(
                f"  {arm:22} {half:12} {points.mean():+6.2f} points; the baseline is better in"
                f" {np.mean(points < 0):4.0%} of {len(cells)} cells, significantly in"
                f" {np.mean([g.worse for g in gains]):4.0%}"
            )


def _against_pool(report: Report, found: Results) -> None:
    report("\nThis project's choice less real + pool as generated")
    for size in _sizes(found, "published"):
        for half, cells in _halves(found.cells("published", CHOICE, BOTH, size=size)):
            points = [found.difference(c, CHOICE, BOTH).points for c in cells]
            report(
                f"  published, {size:5,} real rows, {half:12}: {np.mean(points):+.2f} points"
                f" over {len(cells)} cells"
            )
    for share in ("15 %", "30 %", "45 %"):
        cells = [c for c in found.cells("spoilt", CHOICE, BOTH) if share in c[2]]
        if cells:
            points = [found.difference(c, CHOICE, BOTH).points for c in cells]
            report(f"  {share} of labels flipped: {np.mean(points):+.2f} points over {len(cells)} cells")


def _six(report: Report, found: Results) -> None:
    report(
        "\nSix IMDb generators in one pool of 3,000, against the single generator (3,000 rows, real + pool)"
    )
    report("that is best in hindsight on the same test rows")
    for size in _sizes(found, "generators"):
        cells = found.cells("generators", BOTH, size=size)
        pooled = [c for c in cells if c[2] == SIX]
        for cell in pooled:
            alone = {c[2]: found.accuracy(c, BOTH) for c in cells if c[2] != SIX and c[4] == cell[4]}
            best = max(alone, key=lambda name: alone[name])
            words = f"best of {len(alone)} alone {best} {alone[best]:.3f}"
            words += f", their mean {np.mean(list(alone.values())):.3f}"
            words += f"; six together, as generated {found.accuracy(cell, BOTH):.3f}"
            if found.seeds(cell, CHOICE):
                seeds = found.seeds(cell, CHOICE, BOTH)
                words += f"; chosen {found.accuracy(cell, CHOICE, seeds):.3f} ({len(seeds)} seeds,"
                words += f" as generated on these {found.accuracy(cell, BOTH, seeds):.3f})"
            report(f"  {size:5,} real rows, {cell[4]}: real {found.accuracy(cell, REAL):.3f}; {words}")


def _spoilt(report: Report, found: Results) -> None:
    report(
        "\nSpoilt pools, beside the real rows: accuracy with the pool before and after it was spoilt, and the"
    )
    report("share of the loss that each arm wins back (sum over cells that lose 0.5 points or more)")
    kinds = sorted({c[2] for c in found.cells("spoilt", BOTH, IDEAL)})
    arms = (CHOICE, ALIGN, PAPER, *BASELINES)
    worse = []
    totals: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    for kind in kinds:
        for size in _sizes(found, "spoilt"):
            cells = [c for c in found.cells("spoilt", BOTH, IDEAL, size=size) if c[2] == kind]
            if not cells:
                continue
            before, after = (np.mean([found.accuracy(c, arm) for c in cells]) for arm in (IDEAL, BOTH))
            real = np.mean([found.accuracy(c, REAL) for c in cells])
            words = []
            for arm in arms:
                own = [c for c in cells if found.seeds(c, arm, BOTH, IDEAL)]
                if not own:
                    continue
                for c in own:
                    seeds = found.seeds(c, arm, BOTH, IDEAL)
                    ideal, spoilt, won = (100 * found.accuracy(c, a, seeds) for a in (IDEAL, BOTH, arm))
                    if ideal - spoilt >= 0.5:
                        totals[arm].append((won - spoilt, ideal - spoilt))
                    if arm == CHOICE and won - spoilt < -0.5:
                        worse.append(f"{c[1]} {c[2]} {size}: {won - spoilt:+.1f}")
                gain = np.mean([found.difference(c, arm, BOTH).points for c in own])
                words.append(f"{arm} {gain:+.1f}")
            report(
                f"  {kind:38} {size:4} real rows: real {real:.3f}, before {before:.3f}, spoilt {after:.3f};"
                f" {', '.join(words)}"
            )
    for arm, pairs in totals.items():
        if pairs:
            won, lost = np.array(pairs).T
            report(
                f"  won back, {arm:22} {won.sum() / lost.sum():5.0%} of {lost.mean():.1f}"
                f" points in {len(pairs)} cells"
            )
    report(
        "  the choice is more than 0.5 points below the spoilt pool in: " + ("; ".join(worse) or "no cell")
    )


def _verdicts(report: Report, found: Results) -> None:
    report(
        "\nThe verdict before training, where the true difference is significant on the test rows (a draw by"
    )
    report(
        "itself): 'use' is held against chosen weights less real, 'do not use' against real + pool less real"
    )
    for part in ("published", "spoilt", "generators"):
        right = {"use": [0, 0], "do not use": [0, 0]}
        for cell in found.cells(part, CHOICE, REAL, BOTH):
            for seed in found.seeds(cell, CHOICE, REAL, BOTH):
                own = found.by[cell]
                used = own[CHOICE][seed]["pool_weight"] > 0
                arm = CHOICE if used else BOTH
                rows = bits(own[arm][seed]).astype(float) - bits(own[REAL][seed]).astype(float)
                true = summarised(rows[None])
                if true.better or true.worse:
                    counts = right["use" if used else "do not use"]
                    counts[0] += true.better == used
                    counts[1] += 1
        hits, total = (sum(counts[i] for counts in right.values()) for i in (0, 1))
        if total:
            each = ", ".join(f"'{name}' {hit} of {of}" for name, (hit, of) in right.items())
            report(f"  {part}: right in {hits / total:.0%} of {total} ({each})")


def _picture(found: Results) -> str | None:
    """Mean gain over the real rows, an arm a row, a size a dot."""
    arms = [a for a in (POOL, *_SINGLE, CHOICE) if found.cells("published", REAL, a)]
    sizes = _sizes(found, "published")
    if not arms or not sizes:
        return None
    gains = {
        (arm, size): float(np.mean([found.difference(c, arm, REAL).points for c in cells]))
        for arm in arms
        for size in sizes
        if (cells := found.cells("published", REAL, arm, size=size))
    }
    low, high = min(0.0, *gains.values()), max(0.0, *gains.values())
    top, step, left, right = 58, 26, 130, svg.WIDTH - 12
    bottom = top + step * len(arms)
    to_x = svg.scale(low - 0.5, high + 0.5, left, right)
    classes = ("synthetic", "real", "center")
    parts = [svg.text(10, 16, "Gain over the real rows alone, points of accuracy", class_="label")]
    for i, size in enumerate(sizes[:3]):
        parts += [
            svg.dots([20 + 110 * i], [34], f"dot {classes[i]}"),
            svg.text(30 + 110 * i, 38, f"{size:,} real rows", class_="tick"),
        ]
    for tick in svg.ticks(low, high, 6):
        parts += [
            svg.line(to_x(tick), top - 8, to_x(tick), bottom - 10, "rule" if tick == 0 else "grid"),
            svg.text(to_x(tick), bottom + 8, f"{tick:+g}", class_="tick middle"),
        ]
    for i, arm in enumerate(arms):
        y = top + step * i
        parts.append(svg.text(left - 10, y + 4, arm, class_="end strong" if arm == CHOICE else "end"))
        parts += [
            svg.dots([float(to_x(gains[arm, size]))], [y], f"dot {classes[j]}")
            for j, size in enumerate(sizes[:3])
            if (arm, size) in gains
        ]
    words = "; ".join(f"{arm}, {size} real rows: {gain:+.1f}" for (arm, size), gain in gains.items())
    return svg.document(svg.figure(bottom + 20, words, *parts))
