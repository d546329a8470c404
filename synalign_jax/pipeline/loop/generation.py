"""The loop itself: what each wave asks for, which of its rows are kept, and when it is over."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.protocol import ChatRequest
from synalign_jax.pipeline.asking.ask import prices_of
from synalign_jax.pipeline.asking.calls import Call, Desk, mixed_attributes
from synalign_jax.pipeline.data.growing import GrowingRows, VectorsOnDisk
from synalign_jax.pipeline.seeds import generator

from .course import ALL_CALLS, ALL_ROWS, DRY, Point, ahead, reason_to_stop
from .label_state import LabelState
from .loss import StudentLoss
from .meaning import Meanings
from .sieve import Sieve
from .steer import attribute_odds, contrast, demonstrations, nearest_cluster
from .till import Till
from .weights import Picture, Weigher

_BLOCK = 16_384  # rows whose vectors are held together
_FEWEST_CALLS = 8  # in a wave, of all labels: fewer would leave slots idle and teach little


class Check(Protocol):
    """Says of new rows whether their labels hold. One (reason or None, better label or None) a row."""

    def verdicts(
        self, rows: Sequence[dict[str, Any]], vectors: np.ndarray
    ) -> list[tuple[str | None, str | None]]: ...


class Generation:
    """Proposes waves and accepts their answers; a player of `asking.turns`.

    All that it decides follows from the settings and the answers, so that a run killed and continued ends
    with the same rows.

    Args:
        embed: texts to (rows, width) vectors.
        first: calls that were made already, on trial: their answers begin the first wave.
        checks: makes those who check labels, when the first rows are there.
        kept, rejected: take the rows; a rejected one has its `reason` besides.
        till: counts what the answers cost; those of a judge are counted by whoever asks it.
        told: called after every wave, for whoever watches.
        scratch: a folder with room for the rows' vectors, in a file that is gone with them.
    """

    def __init__(
        self,
        desk: Desk,
        labels: Mapping[str, LabelState],
        vectors: np.ndarray,
        real_labels: Sequence[str],
        sieve: Sieve,
        *,
        embed: Callable[[list[str]], np.ndarray],
        length_scale: float,
        kept: GrowingRows,
        rejected: GrowingRows,
        first: Sequence[Call] = (),
        checks: Callable[[], Iterable[Check]] = tuple,
        till: Till | None = None,
        told: Callable[[Generation], None] = lambda _: None,
        scratch: Path | None = None,
    ) -> None:
        self._desk, self._config, self.labels = desk, desk.config, labels
        self._vectors, self._sieve, self._embed = vectors, sieve, embed
        self._make_checks = checks
        self._checks: Iterable[Check] = ()
        self._told, self._scale = told, length_scale
        settings = desk.config.loop
        self.weigher = Weigher(vectors, real_labels, length_scale, desk.config.run.seed)
        self._meanings = None
        if settings.same_meaning != "off":
            given = settings.same_meaning
            self._meanings = Meanings(vectors, None if isinstance(given, str) else float(given))
        self._wanted = sum(state.wanted for state in labels.values())
        needed = sum(math.ceil(state.wanted / desk.shape.rows_per_call) for state in labels.values())
        self._step, self._steps = 0, max(min(desk.config.generate.waves, needed // _FEWEST_CALLS), 1)
        self._prices, self._till = prices_of(desk.config), till or Till()
        self._real_labels, self._loss = list(real_labels), None
        self._waves: dict[int, list[Call]] = {}
        # Of the wave that is being taken: how many of its calls, and the rows of the kind with their vectors.
        self._taken, self._rows = 0, list[dict[str, Any]]()
        self._new_vectors = partial(VectorsOnDisk, vectors.shape[1], scratch)
        self._row_vectors = self._new_vectors()
        self._first = [call for call in first if call.label in labels]
        for call in self._first:
            labels[call.label].calls += 1
            labels[call.label].most_calls += 1
        self.kept, self.rejected = kept, rejected
        self.dropped: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self.relabelled = 0
        self.made, self._of_made = self._new_vectors(), list[str]()
        self.points: list[Point] = []
        self.picture: Picture | None = None
        self.stopped: str | None = None
        self.stopped_at: int | None = None

    # -- what is asked -------------------------------------------------------------------------------------

    def propose(self, wave: int) -> list[ChatRequest]:
        """The requests of a wave; those of the labels in turn, so that a budget that ends serves them
        alike."""
        calls = []
        counts = self._counts() if self.stopped is None else {}
        for label, count in counts.items():
            calls.append(self._calls(self.labels[label], count))
            self.labels[label].calls += count
        first, self._first = self._first, []
        mixed = first + [call for turn in itertools.zip_longest(*calls) for call in turn if call is not None]
        self._waves[wave] = mixed
        return [call.request for call in mixed]

    def _counts(self) -> dict[str, int]:
        """Calls of the next wave by label: those that its share of the rows needs.

        A wave that needs none, because the waves before brought more than theirs, is passed over, unless
        there are answers to wait for.
        """
        per_call, states = self._desk.shape.rows_per_call, self.labels.values()
        in_flight = bool(self._first) or any(state.calls > state.answered for state in states)
        while True:
            self._step += 1
            share = min(self._step / self._steps, 1.0)
            # A wave is at most twice as large as planned: an endpoint that gives nothing gets no chance to
            # give much of it.
            most = {s.label: 2 * math.ceil(s.wanted / self._steps / per_call) for s in states}
            counts = {
                s.label: min(s.calls_for(math.ceil(s.wanted * share), per_call), most[s.label])
                for s in states
            }
            if any(counts.values()) or in_flight or share == 1.0:
                return counts

    def _calls(self, state: LabelState, count: int) -> list[Call]:
        settings, picture = self._config.loop, self.picture
        known = picture.labels.get(state.label) if picture is not None else None
        odds, chosen = None, []
        told: tuple[Sequence[str], Sequence[str]] = ((), ())
        relative = known.relative if known is not None else np.ones(0)
        if known is not None and settings.attributes:
            odds = attribute_odds(state.attributes, relative)
        if known is not None and settings.contrast:
            heavy, light = (
                [self.kept.value("text", state.rows[i]) for i in some] for some in contrast(relative)
            )
            told = heavy, light
        by = settings.demonstrations
        by = ("auto" if by else "off") if isinstance(by, bool) else by
        if known is not None and by != "off" and count:
            own = self.weigher.rows[state.label]
            chosen = demonstrations(
                self._vectors[own],
                known.witness,
                itertools.chain.from_iterable(state.looked_at),
                count,
                neighbors=min(self._config.explore.neighbors, len(own) - 1),
                length_scale=self._scale,
                by=by,
            )
        state.looked_at.append([cluster[0] for cluster in chosen])
        order = generator(self._config.run.seed, "turns", state.label).permutation(len(state.clusters))
        calls = []
        for step in range(count):
            number = state.calls + step
            cluster = dict(state.clusters[int(order[number % len(order)])])
            if chosen:
                members = [int(i) for i in self.weigher.rows[state.label][chosen[step]]]
                cluster = {**nearest_cluster(self._vectors, members[0], state.clusters), "members": members}
            attributes = mixed_attributes(self._config, cluster, state.clusters, number, odds)
            calls.append(self._desk.call(cluster, attributes, number, contrast=told))
        return calls

    # -- what is kept --------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what needs no answer, while the first ones are waited for."""
        self._checks = self._make_checks()
        if len(self.weigher.says_nothing) < len(self.weigher.rows):
            self._loss = StudentLoss(self._vectors, self._real_labels, self.weigher, self._wanted)

    def take(self, wave: int, outcomes: Sequence[Outcome | None]) -> None:
        """Sift and embed the rows of a wave's next answers, while others are still waited for.

        The order of the requests, not that of the answers, decides which of two equal rows is the first.
        """
        rows: list[dict[str, Any]] = []
        for call, outcome in zip(self._waves[wave][self._taken :], outcomes, strict=False):
            self.labels[call.label].answered += 1
            if outcome is None:
                continue
            if outcome.response is None:
                self.failed.append(outcome)
            self._till.count(outcome, self._prices)
            rows += self._sifted(call, outcome)
        self._taken += len(outcomes)
        if rows:
            self._rows += rows
            self._row_vectors.extend(self._embed([row["text"] for row in rows]))

    def accept(self, wave: int) -> None:
        """Keep what is good of a wave's rows, and learn from it."""
        calls = self._waves.pop(wave)
        before = {label: len(state.rows) for label, state in self.labels.items()}
        if self._rows:
            self._keep(self._rows, self._row_vectors)
        self._taken, self._rows = 0, []
        self._row_vectors = self._new_vectors()
        for label in {call.label for call in calls}:
            state = self.labels[label]
            new = len(state.rows) - before[label]
            state.brought += new
            state.dry = 0 if new else state.dry + 1
        if calls:
            self._learn(wave)
        self._told(self)

    def _sifted(self, call: Call, outcome: Outcome) -> list[dict[str, Any]]:
        good = []
        for row, reason in self._sieve.sift(call, outcome):
            if reason is None:
                good.append(row)
            else:
                self._reject(row, reason)
        return good

    def _keep(self, rows: list[dict[str, Any]], vectors: VectorsOnDisk) -> None:
        """Of rows of the kind, those that say something new under a label that holds and still wants rows."""
        distinct = list(range(len(rows)))
        if self._meanings is not None:
            reasons = self._meanings.verdicts(vectors)
            distinct = [number for number in distinct if reasons[number] is None]
            for row, reason in zip(rows, reasons, strict=True):
                if reason is not None:
                    self._reject(row, reason)
        self._checks = list(self._checks)
        for check in self._checks:
            found = check.verdicts([rows[i] for i in distinct], vectors[np.array(distinct, int)])
            left = []
            for number, (reason, better) in zip(distinct, found, strict=True):
                if reason is None:
                    left.append(number)
                elif better is not None and self._config.judge.on_failure == "relabel":
                    rows[number] = {**rows[number], "label": better}
                    left.append(number)
                else:
                    self._reject(rows[number], reason)
            distinct = left
        accepted = []
        for number in distinct:
            row = rows[number]
            state = self.labels.get(row["label"])
            if state is None or state.missing <= 0:
                self._reject(row, "more than was asked for")
                continue
            self.relabelled += row["label"] != row["asked_label"]
            state.rows.append(len(self.kept))
            state.attributes.append(row["attributes"])
            self.kept.append(row)
            self._of_made.append(row["label"])
            accepted.append(number)
        for start in range(0, len(accepted), _BLOCK):
            self.made.extend(vectors[np.array(accepted[start : start + _BLOCK])])

    def _reject(self, row: dict[str, Any], reason: str) -> None:
        self.rejected.append({**row, "reason": reason})
        self.dropped[reason] += 1

    # -- what is learnt ------------------------------------------------------------------------------------

    def _learn(self, wave: int) -> None:
        settings = self._config.loop
        if len(self.kept):
            self.picture = self.weigher.picture(self.made, self._of_made)
        picture, loss, alone = self.picture, None, None
        if picture is not None and picture.distance is not None and self._loss is not None:
            loss, alone = self._loss(self.made, self._of_made, picture), self._loss.alone
        point = Point(
            wave=wave,
            rows=len(self.kept),
            calls=sum(state.answered for state in self.labels.values()),
            tokens=self._till.tokens,
            cost=self._till.cost,
            distance=picture.distance if picture else None,
            plain=picture.plain if picture else None,
            band=picture.band if picture else None,
            loss=loss,
            loss_alone=alone,
        )
        more = math.ceil(self._wanted / self._steps)
        self.points.append(ahead([*self.points, point], more, len(self._vectors)))
        reason = reason_to_stop(
            self.points,
            in_band=settings.stop,
            min_gain=settings.min_gain,
            min_loss_gain=settings.min_loss_gain,
        )
        if reason is not None:
            self.stop(reason)

    def stop(self, reason: str) -> None:
        """Ask for nothing more; the first reason counts."""
        if self.stopped is None:
            self.stopped = reason
            self.stopped_at = self.points[-1].wave if self.points else None

    def why(self) -> str:
        """Why it is over."""
        if self.stopped is not None:
            return self.stopped
        if all(state.missing <= 0 for state in self.labels.values()):
            return ALL_ROWS
        short = [state for state in self.labels.values() if state.missing > 0]
        return DRY if all(state.given_up for state in short) else ALL_CALLS
