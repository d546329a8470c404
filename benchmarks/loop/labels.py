"""What the check of labels leaves wrong of the rows that were asked for in any cell."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from synalign_jax.pipeline.loop.student import FAILS, StudentCheck
from synalign_jax.text.encoder import Encoder

from .cells import TASKS, named, rows_in

STRICTNESS: tuple[float | Literal["auto"], ...] = (0.15, "auto")
FEW = (32, 64)  # real rows
_DRAWS = 6


def measure(cache: Path) -> list[dict[str, Any]]:
    """Of each task and seed, the cells of all ways of asking together, their rows as the sieve left them:
    the share of wrong labels, by a student of all other real rows, without a check and with one of the
    200 real rows, and the share of the rows that it keeps.
    """
    of_draw: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for kept in sorted(cache.glob("*/cell.json")):
        task, seed = next(
            (name, kept.parent.name.removeprefix(f"{name}-").split("-")[0])
            for name in TASKS
            if kept.parent.name.startswith(f"{name}-")
        )
        of_draw[task, int(seed)].append(kept.parent)
    return [_draw(task, seed, folders, cache) for (task, seed), folders in of_draw.items()]


def _draw(task: str, seed: int, folders: list[Path], cache: Path) -> dict[str, Any]:
    asked: dict[str, str] = {}
    for folder in folders:
        out = [row for row in rows_in(folder, "rejected") if row["reason"] == FAILS]
        for row in rows_in(folder, "synthetic") + out:
            asked.setdefault(row["text"], row["asked_label"])
    rows = [{"text": text, "label": label} for text, label in asked.items()]
    test = {row["text"] for row in rows_in(folders[0], "held_out") if row["part"] == "test"}
    wrong = named(TASKS[task], list(asked), test, cache) != np.array(list(asked.values()))
    vectors = np.asarray(Encoder.from_pretrained("all-MiniLM-L6-v2").embed(list(asked)))
    labels = [row["label"] for row in rows_in(folders[0], "few_shot")]
    real = np.load(folders[0] / "real_vectors.npy")
    found: dict[str, Any] = {"task": task, "seed": seed, "rows": len(rows), "wrong": float(wrong.mean())}
    for strictness in STRICTNESS:
        student = StudentCheck(real, labels, strictness=strictness, key=jax.random.key(0), seed=seed)
        kept = np.array([reason is None for reason, _ in student.verdicts(rows, vectors)])
        found["student"] = student.accuracy
        found[str(strictness)] = {"kept": float(kept.mean()), "wrong": float(wrong[kept].mean())}
    found["few"] = {str(n): _of_few(n, rows, vectors, wrong, real, labels) for n in FEW}
    return found


def _of_few(
    n: int,
    rows: list[dict[str, Any]],
    vectors: np.ndarray,
    wrong: np.ndarray,
    real: np.ndarray,
    labels: list[str],
) -> dict[str, Any]:
    """The same with students of `n` of the real rows: of so many draws, how many were used, and the shares
    kept and wrong of each that was."""
    used = []
    for draw in range(_DRAWS):
        some = np.random.default_rng(draw).permutation(len(real))[:n]
        own = [labels[i] for i in some]
        student = StudentCheck(real[some], own, strictness="auto", key=jax.random.key(0), seed=draw)
        if not student.usable:
            continue
        known = np.array([row["label"] in own for row in rows])  # rows of other labels pass
        kept = ~known
        asked = [row for row, here in zip(rows, known, strict=True) if here]
        kept[known] = [reason is None for reason, _ in student.verdicts(asked, vectors[known])]
        used.append((float(kept.mean()), float(wrong[kept].mean())))
    return {"draws": _DRAWS, "used": len(used), "kept": [k for k, _ in used], "wrong": [w for _, w in used]}
