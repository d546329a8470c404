"""Whether somebody who names labels knows more than how common they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.special import bdtrc

_LEVEL = 0.05


def beats_chance(right: int, labels: Sequence[str]) -> bool:
    """Whether so many of `labels` named rightly are more than always naming the commonest would give.

    An exact one-sided binomial test at 5 %.
    """
    if not labels:
        return False
    commonest = max(Counter(labels).values()) / len(labels)
    return commonest < 1 and bool(bdtrc(right - 1, len(labels), commonest) < _LEVEL)
