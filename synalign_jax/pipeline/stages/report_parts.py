"""What the report tells of inputs, copies, prompts and waves; some of it of a pool without a run, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synalign_jax.evaluation.report.facts import Copies, Course, Distance, Prompt, Wave, WentIn
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message
from synalign_jax.pipeline.asking.lineage import prompt_hash
from synalign_jax.pipeline.data import copies as found_by
from synalign_jax.pipeline.data.intake import Intake

_COPIES_SHOWN = 20
_REQUESTS = 5_000  # of a ledger that are looked through for a prompt


def went_in(side: Mapping[str, Any]) -> WentIn:
    """An `Intake`'s plain values, as the report shows them."""
    intake = Intake(**side)
    columns = ", ".join(f"{part}: {value}" for part, value in intake.columns.items())
    return WentIn(
        intake.role,
        intake.files,
        intake.rows,
        intake.in_files,
        columns,
        intake.counted(),
        intake.vectors,
        tuple(intake.remarks),
    )


def distance_of(evaluation: Mapping[str, Any]) -> Distance | None:
    """The one distance that a run's page and its terminal give."""
    if "mmd2" not in evaluation:
        return None
    mmd2 = evaluation["mmd2"]
    low, _, high = mmd2["real_band"]
    rows = f"{evaluation['test_rows']:,} held-out real rows"
    return Distance(mmd2["before"], mmd2["after"], (low, high), rows, mmd2["resampled"])


def copies_of(
    found: found_by.Copies, texts: Sequence[str] | None, real_texts: Sequence[str] | None
) -> Copies:
    """How many rows repeat others or copy a real one, and some of the latter."""
    kinds = {"exactly": found_by.EXACT, "nearly": found_by.NEAR, "by their vectors": found_by.SEMANTIC}
    leaks = [(row, real) for row, real in enumerate(found.leak.tolist()) if real >= 0]
    shown: tuple[tuple[str, str], ...] = ()
    if texts is not None and real_texts is not None:
        shown = tuple((str(texts[row]), str(real_texts[real])) for row, real in leaks[:_COPIES_SHOWN])
    repeats = {how: int((found.kind == kind).sum()) for how, kind in kinds.items()}
    return Copies(len(found.of), repeats, len(leaks), shown, int(found.conflict.sum()))


def course_of(loop: Mapping[str, Any] | None) -> Course | None:
    """The waves as `loop.json` keeps them; None of a run without."""
    if not loop or not loop.get("waves"):
        return None
    names = Wave.__dataclass_fields__
    waves = tuple(Wave(**{name: wave.get(name) for name in names}) for wave in loop["waves"])
    return Course(waves, loop.get("ended") or "")


def prompts_of(ledger: Ledger, wanted: Mapping[str, str]) -> tuple[Prompt, ...]:
    """One request of each kind, as it was sent.

    Args:
        wanted: hash of a prompt -> what it is for.
    """
    found = {}
    for messages in _asked(ledger):
        name = prompt_hash(ChatRequest(tuple(Message(role, content) for role, content in messages), ""))
        if name in wanted and name not in found:
            found[name] = Prompt(wanted[name], tuple((role, content) for role, content in messages))
        if len(found) == len(wanted):
            break
    return tuple(found[name] for name in wanted if name in found)


def _asked(ledger: Ledger) -> Iterator[list[list[str]]]:
    for number, body in enumerate(ledger.bodies()):
        if number >= _REQUESTS:
            return
        yield body["messages"]
