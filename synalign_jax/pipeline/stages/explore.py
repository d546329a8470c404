"""Stage explore: real vectors in, demonstration clusters out.

Reads `few_shot` and `real_vectors`; writes `clusters` and `coverage` (how much of the real rows the clusters
cover, round by round, beside random choice).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from synalign_jax.core.checks import InputError
from synalign_jax.core.explore.coverage import best_cosine, hull_coverage
from synalign_jax.core.explore.exploration import COMPLETE
from synalign_jax.core.explore.explore import explore
from synalign_jax.core.pca import principal_components
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.loop.rules import hidden_rows
from synalign_jax.pipeline.seeds import generator, key
from synalign_jax.pipeline.tools import Tools

CLUSTERS = pa.schema(
    [
        ("cluster", pa.int64()),
        ("round", pa.int64()),
        ("label", pa.string()),
        ("center", pa.int64()),
        ("members", pa.list_(pa.int64())),
        ("variance", pa.float64()),
    ]
)

_RANDOM_DRAWS = 20


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Choose the clusters of every label (SynAlign, section 3.1)."""
    settings = config.explore
    labels = np.array([row["label"] for row in view.read_rows("few_shot")])
    vectors = np.asarray(view.read_array("real_vectors"))
    clusters: list[dict[str, Any]] = []
    counts = Counter(labels.tolist())
    with tools.reporter.bar("explore", len(counts), "labels") as bar:
        for label in sorted(counts):
            rows = np.flatnonzero(labels == label)
            found = explore(
                vectors[rows],
                rounds=settings.rounds,
                # A rare label still gets a cluster, of the rows that there are.
                neighbors=min(settings.neighbors, len(rows) - 1),
                key=key(config.run.seed, "explore", label),
                acquisition=settings.acquisition,
                project=None if settings.project == "none" else settings.project,
            )
            if found.status != COMPLETE:
                view.warn(
                    f"label '{label}': {len(found.centers)} of {settings.rounds} clusters ({found.status};"
                    f" it has {len(rows)} rows)"
                )
            clusters += [
                {
                    "round": number,
                    "label": label,
                    "center": int(rows[center]),
                    "members": rows[members].tolist(),
                    "variance": float(variance),
                }
                for number, (center, members, variance) in enumerate(
                    zip(found.centers, found.clusters, found.variance, strict=True)
                )
            ]
            bar.advance(1)
    texts = [row["text"] for row in view.read_rows("few_shot")]
    if hidden := hidden_rows(config.rules, texts, view.warn):
        shown = [{**c, "members": [i for i in c["members"] if i not in hidden]} for c in clusters]
        clusters = [cluster for cluster in shown if cluster["members"]]
        view.facts["rows_kept_back"] = len(hidden)
        if bare := sorted(set(labels.tolist()) - {cluster["label"] for cluster in clusters}):
            raise InputError(
                f"label '{bare[0]}': every row that could be shown seems to hold personal data; give other"
                ' rows, or set [rules] personal_demonstrations = "report"'
            )
    # Round by round over all labels: the order in which a shortened run would want them.
    clusters.sort(key=lambda cluster: (cluster["round"], cluster["label"]))
    view.write_rows("clusters", [{"cluster": i, **c} for i, c in enumerate(clusters)], CLUSTERS)
    curves = _coverage(vectors, clusters, config.run.seed)
    view.write_json("coverage", curves)
    view.facts.update(
        clusters=len(clusters),
        rows=curves["rows"][-1],
        hull_coverage=curves["hull"][-1],
        of_random_rows=float(np.mean(curves["hull_random"][-1])),
    )


def _coverage(vectors: np.ndarray, clusters: list[dict[str, Any]], seed: int) -> dict[str, list[Any]]:
    """Hull coverage (SynAlign, figure 4) and best cosine after every round, ours and of random draws."""
    rng = generator(seed, "coverage")
    curves: dict[str, list[Any]] = {
        name: [] for name in ("rows", "hull", "hull_random", "cosine", "cosine_random")
    }
    # In its own plane the hull is the same, and the plane is found once.
    plane = np.asarray(principal_components(vectors, 2).project(vectors))
    for last in range(max(cluster["round"] for cluster in clusters) + 1):
        chosen = sorted({i for cluster in clusters if cluster["round"] <= last for i in cluster["members"]})
        draws = [rng.choice(len(vectors), len(chosen), replace=False) for _ in range(_RANDOM_DRAWS)]
        curves["rows"].append(len(chosen))
        curves["hull"].append(_hull(plane, chosen))
        curves["hull_random"].append([_hull(plane, draw) for draw in draws])
        curves["cosine"].append(best_cosine(vectors, chosen))
        curves["cosine_random"].append([best_cosine(vectors, draw) for draw in draws])
    return curves


def _hull(plane: np.ndarray, chosen: Any) -> float:
    try:
        return hull_coverage(plane, chosen)
    except InputError:  # the real rows themselves span no plane
        return 0.0
