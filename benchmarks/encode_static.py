"""Static embeddings: what a million texts take, and what they cost in distance and in students' accuracy.

    python -m benchmarks.encode_static --table FOLDER [--texts N]
    python -m benchmarks.encode_static --table FOLDER --data FOLDER [--cache FOLDER] [--tasks SST-2 IMDb]
    python -m benchmarks.encode_static --distil FOLDER

The table is distilled from all-MiniLM-L6-v2 by model2vec's recipe: outputs of single tokens, PCA to 256, SIF
weights. A published table (potion) was trained further, and is better than that.
benchmarks/study/data.py says where the files of --data come from.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import time
from pathlib import Path
from statistics import mean, median

import jax
import numpy as np
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import synalign_jax as sa
from benchmarks import _pools
from benchmarks._report import Report, machine, peak_rss
from benchmarks.study import vectors as study
from synalign_jax.text import Encoder, StaticEncoder
from synalign_jax.text.packing import Packer
from synalign_jax.text.tokens import read_tokenizer

TASKS = {
    "SST-2": ("sst2_train", "sst2_test", ("fewgen_21", "fewgen_42")),
    "IMDb": ("imdb_train", "imdb_test", ("imdb_gpt-3.5-turbo-instruct", "imdb_flan-t5-xl")),
}
REAL, POOL, DRAWS = 200, 1_600, 2


def distil(folder: Path) -> None:
    """A table in model2vec's layout by model2vec's recipe, with the Flax encoder in the place of torch."""
    encoder = Encoder.from_pretrained("all-MiniLM-L6-v2")
    tokenizer = read_tokenizer(encoder.files.folder)
    tokenizer.no_padding()
    begin, end = tokenizer.encode("").ids
    vocabulary = tokenizer.get_vocab()
    real = sorted(i for token, i in vocabulary.items() if not re.fullmatch(r"\[.*\]", token))
    outputs = np.zeros((len(real), encoder.dimension), np.float32)
    packer = Packer(encoder.max_tokens, tokens=encoder.batch_tokens)
    rows = [(k, np.array([begin, i, end], np.int32)) for k, i in enumerate(real)]
    for batch in [*packer.add(rows), *packer.finish()]:
        outputs[batch.texts] = np.asarray(encoder._run(batch))[batch.places[:, 0], batch.places[:, 1]]
    points = PCA(256).fit_transform(outputs)
    # Smooth inverse frequency, frequencies by Zipf's law: the vocabulary is in their order.
    chance = 1 / np.arange(2, len(real) + 2)
    weights = 1e-4 / (1e-4 + chance / chance.sum())
    table = np.zeros((len(vocabulary), 256), np.float32)
    table[real] = points * weights[:, None]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": table}, folder / "model.safetensors")
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": 256,
        "normalize": True,
    }
    (folder / "config.json").write_text(json.dumps(config | {"apply_pca": 256, "sif_coefficient": 1e-4}))


def million(count: int) -> list[str]:
    """Sentences of 40 to 250 characters cut from `imdb` reviews, and again in another order until enough."""
    reviews = [row["text"] for row in _pools._movies()]
    found = [s for text in reviews for s in re.split(r"(?<=[.!?])\s", text) if 40 <= len(s) <= 250]
    rng = np.random.default_rng(0)
    texts: list[str] = []
    while len(texts) < count:
        texts += [found[i] for i in rng.permutation(len(found))]
    return texts[:count]


def speed(say: Report, table: Path, count: int) -> None:
    texts = million(count)
    encoder = StaticEncoder.from_pretrained(table)
    encoder.embed(texts[:2000])
    start, before = time.perf_counter(), time.process_time()
    vectors = encoder.embed(texts)
    seconds, work = time.perf_counter() - start, time.process_time() - before
    say(
        f"\n{count:,} sentences of {np.mean([len(t) for t in texts[:20_000]]):.0f} characters,"
        f" {vectors.shape[1]} columns"
    )
    say(f"  ours       {seconds:6.1f} s, {count / seconds:,.0f} texts/s; {work:.1f} CPU seconds on all cores")
    if importlib.util.find_spec("model2vec") is None:
        say("  model2vec is not installed: skipped")
        return
    from model2vec import StaticModel  # pyright: ignore[reportMissingImports]

    peer, part = StaticModel.from_pretrained(str(table)), texts[: count // 5]
    work_of: dict[str, list[float]] = {"ours": [], "model2vec": []}
    wall_of: dict[str, list[float]] = {"ours": [], "model2vec": []}
    found = {}
    for _ in range(3):
        for name, embed in (("ours", encoder.embed), ("model2vec", peer.encode)):
            start, before = time.perf_counter(), time.process_time()
            found[name] = embed(part)
            wall_of[name].append(time.perf_counter() - start)
            work_of[name].append(time.process_time() - before)
    say(f"  {len(part):,} of them in turn, medians of 3:")
    for name in work_of:
        say(
            f"    {name:<10} {len(part) / median(wall_of[name]):9,.0f} texts/s,"
            f" {median(work_of[name]):6.2f} CPU seconds"
        )
    say(f"    largest difference {float(np.abs(found['ours'] - found['model2vec']).max()):.1e}")


def cost(say: Report, table: Path, data: Path | None, cache: Path, tasks: list[str]) -> None:
    say(f"\nCost, {REAL} real rows, pools of {POOL:,}, {DRAWS} draws; MiniLM's vectors against the table's")
    say(
        "accuracy: logistic students on frozen vectors; MMD²: to held-out real rows, always in MiniLM's space"
    )
    encoder = StaticEncoder.from_pretrained(table)
    for task in tasks:
        train, test, pools = TASKS[task]
        kept = {name: study.load(name, data, cache) for name in (train, test, *pools)}
        spaces = {
            "MiniLM": {name: found for name, (_, found) in kept.items()},
            "static": {name: encoder.embed(rows.texts) for name, (rows, _) in kept.items()},
        }
        labels = {name: np.array(rows.labels) for name, (rows, _) in kept.items()}
        say(f"\n  {task}: {', '.join(pools)}")
        accuracy: dict[str, dict[str, list[float]]] = {space: {} for space in spaces}
        distance: dict[str, list[float]] = {"as generated": [], **{f"aligned by {s}": [] for s in spaces}}
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(labels[train]))
            few, held = order[:REAL], order[REAL : REAL + 1_000]
            for pool in pools:
                rows = np.random.default_rng(draw).permutation(len(labels[pool]))[:POOL]
                judge = spaces["MiniLM"]
                real, generated = judge[train][held], judge[pool][rows]
                distance["as generated"].append(float(sa.mmd2(real, generated)))
                for space, found in spaces.items():
                    sets = {
                        "real": (found[train][few], labels[train][few]),
                        "pool": (found[pool][rows], labels[pool][rows]),
                    }
                    (x, y), (more_x, more_y) = sets["real"], sets["pool"]
                    sets["real + pool"] = np.concatenate([x, more_x]), np.concatenate([y, more_y])
                    for name, (x, y) in sets.items():
                        student = LogisticRegression(C=10.0, max_iter=300).fit(x, y)
                        score = student.score(found[test], labels[test])
                        accuracy[space].setdefault(name, []).append(float(score))
                    weights = sa.align(
                        found[train][few],
                        found[pool][rows],
                        key=jax.random.key(draw),
                        real_labels=labels[train][few].tolist(),
                        synthetic_labels=labels[pool][rows].tolist(),
                    ).weights
                    distance[f"aligned by {space}"].append(
                        float(sa.mmd2(real, generated, y_weights=np.asarray(weights)))
                    )
        for space, found in accuracy.items():
            say(
                f"    {space:<7} " + ", ".join(f"{name} {mean(values):.3f}" for name, values in found.items())
            )
        say("    MMD²    " + ", ".join(f"{name} {mean(values):.5f}" for name, values in distance.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--distil", type=Path, help="make the table in this folder, and nothing else")
    parser.add_argument("--table", type=Path, help="folder of the table")
    parser.add_argument("--data", type=Path, help="folder of the published pools; without it, speed alone")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--cache", type=Path, default=_pools.CACHE / "study", help="of MiniLM's vectors")
    parser.add_argument("--texts", type=int, default=1_000_000, help="0 for the cost alone")
    options = parser.parse_args()
    if options.distil:
        return distil(options.distil)
    if not options.table:
        parser.error("--table: the folder of a model2vec model; --distil makes one")
    with Report("encode/encode-static") as say:
        say(machine("jax", "tokenizers", "scipy", "model2vec"))
        say(f"one process; {time.strftime('%Y-%m-%d')}; table: {options.table.name}")
        if options.texts:
            speed(say, options.table, options.texts)
        if options.data:
            cost(say, options.table, options.data, options.cache, options.tasks)
        say(f"\nPeak memory of this process: {peak_rss():.2f} GiB")
    return None


if __name__ == "__main__":
    main()
