"""Whether the rows are worth training on, as the report says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .facts import Worth, WorthRow
from .verdict import Verdict

_HEADLINES = {
    "use": ("good", "Use these rows beside the real ones."),
    "use at this share": ("good", "Use these rows beside the real ones, with their weights."),
    "do not use": ("bad", "Do not use these rows: that a student gains by them is not shown."),
    "unknown": ("mixed", "Whether these rows help is not known yet: train without them and with them."),
}


def worth_facts(summary: Mapping[str, Any]) -> Worth:
    """Of a `Mixture.summary()`, perhaps read from JSON: of every way to weigh the rows the share of least
    loss, best first.
    """
    candidates = summary["candidates"]
    alone = next((c for c in candidates if c["share"] == 0), None)
    best: dict[str, Mapping[str, Any]] = {}
    for candidate in sorted(candidates, key=lambda c: (not c["chosen"], c["loss"])):
        best.setdefault(candidate["name"], candidate)
    return Worth(
        decision=summary["decision"],
        text=summary["verdict"],
        share=summary["share"],
        total=summary["total_weight"],
        rows=tuple(
            WorthRow(
                name=c["name"],
                share=c["share"],
                accuracy=c["accuracy"],
                gain=alone["loss"] - c["loss"] if alone else 0.0,
                error=c["error"],
                chosen=c["chosen"],
            )
            for c in sorted(best.values(), key=lambda c: c["loss"])
        ),
    )


def worth_verdict(worth: Worth) -> Verdict:
    """The verdict from the training side alone."""
    tone, headline = _HEADLINES[worth.decision]
    return Verdict(tone, headline, worth.text)  # pyright: ignore[reportArgumentType]
