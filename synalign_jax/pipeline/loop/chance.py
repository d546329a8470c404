"""Whether somebody who names labels knows more than how common they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.special import bdtrc


def beats_chance(right: int, labels: Sequence[str], *, level: float = 0.05) -> bool:
    """Whether so many of `labels` named rightly are more than always naming the commonest would give.

    An exact one-sided binomial test.
    """
    if not labels:
        return False
    commonest = max(Counter(labels).values()) / len(labels)
    return commonest < 1 and bool(bdtrc(right - 1, len(labels), commonest) < level)
