"""Token lists into rows of a few fixed lengths, several texts a row, so that little of a batch is padding."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SHORTEST_TEXT = 3  # begin, one token, end; shorter ones fit too, fewer to a row
_FULL = 0.9  # a row this full is good enough; others are packed again at the next length
_LENGTHS = 4


@dataclass(frozen=True)
class Batch:
    """Packed rows of one shape.

    `ids`, `positions` and `segments` are (rows, length) int32; a text with number `texts[k]` is segment
    `places[k, 1] + 1` of row `places[k, 0]`.
    """

    ids: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    texts: np.ndarray
    places: np.ndarray


def row_lengths(max_tokens: int) -> tuple[int, ...]:
    """The row lengths in use: at most four, powers of two times 64, the last one holding any text.

    >>> row_lengths(256), row_lengths(8192)
    ((64, 128, 256, 512), (64, 256, 2048, 8192))
    """
    top = 64
    while top < max(max_tokens, 512):
        top *= 2
    steps = (top // 64).bit_length() - 1
    return tuple(64 * 2 ** round(steps * k / (_LENGTHS - 1)) for k in range(_LENGTHS))


def segments_per_row(length: int) -> int:
    """How many texts a row of `length` tokens holds at most."""
    return length // SHORTEST_TEXT


def pack_rows(sizes: np.ndarray, length: int) -> list[list[int]]:
    """Best-fit decreasing: indices of texts of these sizes into rows of `length` tokens.

    Each text goes to the fullest row that still has room for it (Johnson 1974).
    """
    most = segments_per_row(length)
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for text in np.argsort(-sizes, kind="stable"):
        size = int(sizes[text])
        at = bisect_left(room, (size, -1))
        if at < len(room):
            free, row = room.pop(at)
            rows[row].append(int(text))
        else:
            free, row = length, len(rows)
            rows.append([int(text)])
        if free > size and len(rows[row]) < most:
            insort(room, (free - size, row))
    return rows


class Packer:
    """Turns a stream of token lists into full batches, and what is left at the end into small ones.

    Args:
        max_tokens: no text is longer.
        tokens: tokens of a full batch; a small one has an eighth. Two batch sizes for each of the four row
            lengths make the eight shapes that are ever compiled.
        multiple: the rows of every batch are a multiple of this (the devices that share them).
    """

    def __init__(self, max_tokens: int, *, tokens: int, multiple: int = 1) -> None:
        self.lengths = row_lengths(max_tokens)
        self._tokens = tokens
        self._multiple = multiple
        self._waiting: list[tuple[int, np.ndarray]] = []
        self.used_tokens = 0
        self.batch_tokens = 0

    def batch_rows(self, length: int) -> tuple[int, int]:
        """Rows of a full and of a small batch at this row length."""

        def rows(tokens: int) -> int:
            return max(1, tokens // length // self._multiple) * self._multiple

        return rows(self._tokens), rows(self._tokens // 8)

    def add(self, texts: list[tuple[int, np.ndarray]]) -> Iterator[Batch]:
        """Full batches that these texts, and those that wait, can fill."""
        yield from self._pack(self._waiting + texts, last=False)

    def finish(self) -> Iterator[Batch]:
        """Batches of every text that still waits."""
        yield from self._pack(self._waiting, last=True)

    def _pack(self, texts: list[tuple[int, np.ndarray]], *, last: bool) -> Iterator[Batch]:
        sizes = np.array([len(ids) for _, ids in texts], int)
        left = np.arange(len(texts))
        for length in self.lengths:
            longest = length == self.lengths[-1]
            fits = left[sizes[left] <= length]
            rows = [[int(fits[k]) for k in row] for row in pack_rows(sizes[fits], length)]
            if not (last and longest):
                rows = [row for row in rows if sizes[row].sum() >= _FULL * length]
            full, small = self.batch_rows(length)
            size = full
            at = 0
            while at < len(rows) and (len(rows) - at >= full or last):
                size = full if len(rows) - at > full - small else small
                self.used_tokens += sum(int(sizes[row].sum()) for row in rows[at : at + size])
                self.batch_tokens += size * length
                yield fill_batch([[texts[k] for k in row] for row in rows[at : at + size]], size, length)
                at += size
            taken = np.array([k for row in rows[:at] for k in row], int)
            left = np.setdiff1d(left, taken)
        self._waiting = [texts[k] for k in left]


def fill_batch(rows: list[list[tuple[int, np.ndarray]]], count: int, length: int) -> Batch:
    """`count` rows of `length` tokens out of at most as many lists of numbered texts; the rest is padding."""
    ids, positions, segments = (np.zeros((count, length), np.int32) for _ in range(3))
    texts, places = [], []
    for r, row in enumerate(rows):
        start = 0
        for s, (text, tokens) in enumerate(row):
            stop = start + len(tokens)
            ids[r, start:stop] = tokens
            positions[r, start:stop] = np.arange(len(tokens))
            segments[r, start:stop] = s + 1
            texts.append(text)
            places.append((r, s))
            start = stop
    return Batch(ids, positions, segments, np.array(texts, int), np.array(places, int).reshape(-1, 2))
