"""Near-duplicates among very many texts: rows a second, memory, and recall of exact Jaccard similarity.

python -m benchmarks.million.near_duplicates [ROWS]     (default: 1000000)

Of 2,000 rows the similarity to every earlier row is computed exactly. Seconds are those of the CPU.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict

import numpy as np

from benchmarks._report import Report, machine, peak_rss
from synalign_jax.pipeline.data.copies import NONE, TextCopies
from synalign_jax.pipeline.data.duplicates import shingled

from .shards import texts

_SAMPLE = 2_000
_THRESHOLD = 0.7


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with Report("million/near-duplicates") as report:
        report(machine("synalign-jax", "rensa"))
        report(f"{rows:,} texts of two halves of real sentences; Jaccard of word pairs from {_THRESHOLD}\n")
        every = [text for block, _ in texts(rows) for text in block]
        some = np.sort(np.random.default_rng(2).permutation(rows)[:_SAMPLE]).tolist()
        pairs = {row: shingled(every[row]).pairs for row in some}
        holding: dict[int, list[int]] = defaultdict(list)  # the rows of the sample that hold a pair
        for row, own in pairs.items():
            for pair in own:
                holding[pair].append(row)
        exact, among_kept, found, before = set(), set(), set(), peak_rss()
        known, taken, last = TextCopies(_THRESHOLD), 0.0, (0, 0.0)
        for row, text in enumerate(every):
            start = time.process_time()
            _, how = known.look(row, text)
            taken += time.process_time() - start
            if how != NONE:
                found.add(row)
            shared = Counter(other for pair in shingled(text).pairs for other in holding.get(pair, ()))
            size = len(shingled(text).pairs) if shared else 0
            for other, both in shared.items():
                if other > row and both >= _THRESHOLD * (size + len(pairs[other]) - both):
                    exact.add(other)
                    if how == NONE:
                        among_kept.add(other)
            if (row + 1) % (rows // 10) == 0:
                speed = (row + 1 - last[0]) / (taken - last[1])
                report(f"{row + 1:>10,} rows: {speed:8,.0f} a second of CPU, peak {peak_rss():.2f} GiB")
                last = row + 1, taken
        missed = exact - found
        report(
            f"\n{rows / taken:,.0f} rows a second of CPU; {(peak_rss() - before) * 2**30 / rows:,.0f} B a row"
        )
        report(
            f"of {_SAMPLE:,} rows {len(exact):,} repeat an earlier one by exact similarity, of which"
            f" {len(exact) - len(missed):,} were found: recall {1 - len(missed) / max(len(exact), 1):.3f}"
        )
        # A row that is like a repetition alone, and not like what that repeats, is meant to stay.
        known_of = len(among_kept & found) / max(len(among_kept), 1)
        report(
            f"{len(among_kept):,} of them repeat an earlier one that was kept, of which"
            f" {len(among_kept & found):,} were found: recall {known_of:.3f}"
        )
        wrong = {row for row in some if row in found} - exact
        report(f"{len(wrong):,} rows of the sample were found that do not")


if __name__ == "__main__":
    main()
