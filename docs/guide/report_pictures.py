"""Makes the pictures of report.md: a report on made-up rows, its sections as a browser shows them.

    .venv/bin/python docs/guide/report_pictures.py

Needs playwright and a Chromium (`CHROMIUM` names one that is not on the path).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from playwright.sync_api import sync_playwright

import synalign_jax as sa
from synalign_jax.api.pool_report import pool_facts
from synalign_jax.evaluation import write_report
from synalign_jax.evaluation.report.facts import Course, ReportFacts, Use, Wave, WentIn
from synalign_jax.evaluation.report.worth import worth_facts
from synalign_jax.pipeline.data.others import HeldRows, Others
from synalign_jax.pipeline.data.table import Table

PICTURES = Path(__file__).parent / "pictures"
LABELS = ("billing", "delivery", "returns")
SAID = {
    "billing": ("I was charged twice for {}", "the invoice for {} shows a wrong sum", "please refund {}"),
    "delivery": ("where is {}, it was due on Monday", "{} came to the wrong house", "{} is late again"),
    "returns": ("how do I send {} back", "{} does not fit, I want another", "{} broke after a week"),
}
THINGS = ("my lamp", "the blue jacket", "order 7731", "a coffee mill", "the garden chair", "two books")
PADDING = ", as a valued customer I would kindly like to bring this to your esteemed attention today"


def made_up(rng: np.random.Generator, rows: int, *, pool: bool) -> Table:
    """Customers' messages with vectors by label; those of the pool are wordy and partly off."""
    share = (0.6, 0.25, 0.15) if pool else (0.3, 0.4, 0.3)
    centres = np.random.default_rng(7).normal(size=(3, 12)) * 1.4
    texts, labels, others, vectors = [], [], [], []
    for _ in range(rows):
        number = int(rng.choice(3, p=share))
        label = LABELS[number]
        wordy = pool and rng.random() < 0.5
        text = str(rng.choice(SAID[label])).format(rng.choice(THINGS)) + f" (case {rng.integers(9_000)})"
        texts.append(text + PADDING if wordy else text)
        labels.append(label)
        others.append({"model": "large" if not wordy else "small"} if pool else {})
        vectors.append(centres[number] + rng.normal(size=12) + (0.9 if wordy else 0.15 if pool else 0.0))
    names = ["model"] if pool else []
    columns = {"text": "text", "label": "label"}
    return Table(
        texts, labels, np.asarray(vectors, "f4"), others=Others([HeldRows(names, others)]), columns=columns
    )


def facts() -> ReportFacts:
    rng = np.random.default_rng(0)
    real, pool = made_up(rng, 150, pool=False), made_up(rng, 500, pool=True)
    vectors = np.asarray(real.embeddings), np.asarray(pool.embeddings)
    keys = jax.random.split(jax.random.key(0), 4)
    found = sa.align(*vectors, key=keys[0], real_labels=real.labels, synthetic_labels=pool.labels)
    mixture = sa.mix(vectors[0], real.labels, vectors[1], pool.labels, key=keys[1])
    weights = np.asarray(mixture.weights if mixture.weights.any() else found.weights, np.float64)
    size = round(1.0 / float(np.sum((weights / weights.sum()) ** 2)))
    drawn = sa.resample(
        weights / weights.sum(), size, key=keys[2], embeddings=vectors[1], labels=pool.labels, distinct=True
    )
    told = pool_facts(real, pool, vectors, weights, np.sort(drawn), keys[3], found=found, labels=real.labels)
    columns, source = "text: text, label: label", "texts embedded by all-MiniLM-L6-v2"
    counts = [
        ", ".join(f"{label} {(side.labels or []).count(label)}" for label in LABELS) for side in (real, pool)
    ]
    waves = tuple(
        Wave(i, 25 * i, 9 * i, 0.04 * i, 0.004 + 0.05 / i, 0.0031, None if i < 3 else 0.5 / i)
        for i in range(1, 9)
    )
    return replace(
        told,
        title="Customers' messages",
        went_in=(
            WentIn("real rows", "messages.jsonl", 150, 150, columns, counts[0], source, ()),
            WentIn("synthetic rows", "pool.parquet", 500, 500, columns, counts[1], source, ()),
        ),
        worth=worth_facts(mixture.summary()),
        use=Use(
            (("weights.npy", "what each row of the pool counts for, each real row counting 1"),),
            'weights = np.load("weights.npy")\nsample_weight = np.concatenate([np.ones(len(real)), weights])',
        ),
        course=Course(waves, "another wave is expected to gain less than [loop] min_gain"),
    )


def main() -> None:
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium on the path; CHROMIUM=... names one")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = write_report(facts(), Path(folder) / "report.html")
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = opened.new_page(viewport={"width": 900, "height": 800}, color_scheme="light")
        page.goto(path.as_uri())
        for anchor, part in (
            ("went-in", ".scroll"),
            ("likeness", ".split"),
            ("use", ".verdict, .mix, pre"),
            ("changed", ".numbers, .change, .panels"),
            ("where", ".panels"),
            ("made", ".panels"),
        ):
            section = page.locator(f"section[aria-labelledby={anchor}]")
            boxes = [box for one in section.locator(part).all() if (box := one.bounding_box())]
            if anchor in ("where", "made"):
                boxes = boxes[:1]
            top, left = min(box["y"] for box in boxes) - 8, min(box["x"] for box in boxes) - 8
            bottom = max(box["y"] + box["height"] for box in boxes) + 8
            right = max(box["x"] + box["width"] for box in boxes) + 8
            page.screenshot(
                path=PICTURES / f"report-{anchor}.png",
                full_page=True,
                clip={"x": left, "y": top, "width": right - left, "height": bottom - top},
            )
        opened.close()


if __name__ == "__main__":
    main()
