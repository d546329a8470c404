"""The paper's A/B test, offline: a dense retriever trained on pairs as generated and as chosen.

    python -m benchmarks.retrieval --data FOLDER [--seeds 3] [--pairs 1024]

FOLDER holds cran.all.1400.xml, cran.qry.xml and cranqrel.trec.txt. A third of the 225 real questions are the
few-shot set; the others measure. All trained arms take the same number of steps.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np

import synalign_jax as sa
from synalign_jax.text import Encoder

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import Report, machine

from . import cranfield, dense, writer
from .ranking import ndcg, recall
from .sessions import interleaved

_POOL = 6_000
_FEW_SHOT = 75


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=1_024, help="that a retriever is trained on")
    arguments = parser.parse_args()
    with Report("retrieval") as say:
        say(machine("jax", "flax", "synalign-jax"))
        _compare(say, arguments.data, arguments.seeds, arguments.pairs)


def _compare(say: Report, folder: Path, seeds: int, count: int) -> None:
    data, encoder = cranfield.load(folder), dense.load()
    passages = [f"{title} {text}" for title, text in zip(data.titles, data.passages, strict=True)]
    say(f"Cranfield: {len(passages)} passages, {len(data.questions)} questions, {_FEW_SHOT} of them few-shot")
    say(f"{_POOL} pairs by templates of {len(writer.KINDS)} kinds: {'; '.join(writer.KINDS)}")
    say(f"{count} pairs a retriever, one pass; means over {seeds} seeds\n")
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
    kinds: dict[str, list[np.ndarray]] = defaultdict(list)
    lifts = defaultdict(list)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        few, held = np.split(rng.permutation(len(data.questions)), [_FEW_SHOT])
        real = [(data.questions[q], passage) for q in few for passage in data.relevant[q]]
        pairs = writer.write(data.titles, data.passages, _POOL, rng)
        pool = list(zip(pairs.questions, pairs.passages, strict=True))
        vectors = encoder.embed(passages)
        of_real, of_pool = _vectors(encoder, real, pool, vectors)
        found = sa.align(of_real, of_pool, key=jax.random.key(seed))
        say(
            f"seed {seed}: {len(real)} real pairs; MMD² {found.mmd2_before:.5f} as generated,"
            f" {found.mmd2_after:.5f} weighted, {float(found.ess):.0f} effective pairs"
        )
        chosen = sa.resample(found.weights, count, key=jax.random.key(seed + 1), embeddings=of_pool)
        generated = rng.permutation(len(pool))[:count]
        drawn = {
            "real pairs": [real[i] for i in np.resize(rng.permutation(len(real)), count)],
            "as generated": [pool[i] for i in generated],
            "as chosen": [pool[i] for i in rng.permutation(chosen)],
        }
        for name, rows in (("as generated", generated), ("as chosen", chosen)):
            kinds[name].append(np.bincount(pairs.kinds[rows], minlength=len(writer.KINDS)) / len(rows))
            half = [pair for both in zip(drawn["real pairs"], drawn[name], strict=True) for pair in both]
            drawn[f"real + {name}"] = half[:count]
        asked, answers = [data.questions[q] for q in held], [data.relevant[q] for q in held]
        order = {"untouched": dense.rankings(encoder, asked, passages)}
        for name, training in drawn.items():
            numbers = np.array([passage for _, passage in training])
            questions, texts = [question for question, _ in training], [passages[i] for i in numbers]
            tuned = dense.tuned(encoder, questions, texts, numbers)
            order[name] = dense.rankings(tuned, asked, passages)
        for name, ranked in order.items():
            scores[name].append((ndcg(ranked, answers), recall(ranked, answers)))
            print(f"  {name}: nDCG@10 {scores[name][-1][0]:.4f}", file=sys.stderr, flush=True)
        for a, b in (("as generated", "as chosen"), ("real pairs", "real + as chosen"),
                     ("real + as generated", "real + as chosen")):  # fmt: skip
            lifts[f"{b} against {a}"].append(interleaved(order[a], order[b], answers, rng))

    say(f"\n{'retriever':22}{'nDCG@10':>9}{'(seeds)':>28}{'recall@100':>12}")
    for name, found in scores.items():
        gain, share = np.mean(found, axis=0)
        say(f"{name:22}{gain:9.4f}{' '.join(f'{each:.4f}' for each, _ in found):>28}{share:12.4f}")
    say(f"\n{'kind of question':22}{'as generated':>14}{'as chosen':>14}")
    for k, kind in enumerate(writer.KINDS):
        say(f"{kind:22}" + "".join(f"{np.mean(kinds[name], axis=0)[k]:14.1%}" for name in kinds))
    say(
        "\nA/B test by interleaving: sessions won less sessions lost, 95 % over questions, sessions to see it"
    )
    for name, found in lifts.items():
        say(name)
        for seed, lift in enumerate(found):
            say(
                f"  seed {seed}: {lift.lift:+.2%} ({lift.low:+.2%} to {lift.high:+.2%}), {lift.sessions:,.0f}"
            )


def _vectors(
    encoder: Encoder, real: list[tuple[str, int]], pool: list[tuple[str, int]], passages: np.ndarray
) -> tuple[np.ndarray, ...]:
    """(pairs, 2 d + 1) of real pairs and of the pool: question, passage, and the cosine of the two.

    Each part is as wide as the others in the pool: the cosine, one column, says what 768 others say of topic
    and style do not, whether the question is about the passage.
    """

    def parts(pairs: list[tuple[str, int]]) -> tuple[np.ndarray, ...]:
        asked = encoder.embed([question for question, _ in pairs])
        told = passages[[passage for _, passage in pairs]]
        return asked, told, np.sum(asked * told, axis=1, keepdims=True)

    of_real, of_pool = parts(real), parts(pool)
    scales = [1 / np.sqrt(part.var(axis=0).sum()) for part in of_pool]
    return tuple(
        np.concatenate([scale * part for scale, part in zip(scales, of, strict=True)], axis=1)
        for of in (of_real, of_pool)
    )


if __name__ == "__main__":
    main()
