"""An A/B test replayed: two rankings interleaved, shown to a model of people who click."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SHOWN = 10
_CONTINUES = 0.8  # the chance that the next result is looked at (a cascade model, Craswell et al. 2008)
_CLICKS = (0.05, 0.6)  # the chance of a click on a result that does not answer, and on one that does


class Lift(NamedTuple):
    """Sessions that B won less those that A won, as a share of all; its interval over questions; and how many
    sessions an A/B test needs to see it (5 %, power 80 %).
    """

    lift: float
    low: float
    high: float
    sessions: float


def interleaved(
    a: np.ndarray, b: np.ndarray, relevant: list[np.ndarray], rng: np.random.Generator, each: int = 200
) -> Lift:
    """Team-draft interleaving (Radlinski et al. 2008) of two rankings, `each` sessions a question.

    Args:
        a, b: (questions, passages) rankings.
    """
    won = np.array([_question(*pair, rng, each) for pair in zip(a, b, relevant, strict=True)])
    by_question = won.mean(axis=1)
    drawn = by_question[rng.integers(0, len(won), (2_000, len(won)))].mean(axis=1)
    lift, deviation = float(won.mean()), float(won.std())
    low, high = np.quantile(drawn, (0.025, 0.975))
    sessions = ((1.96 + 0.84) * deviation / lift) ** 2 if lift else np.inf
    return Lift(lift, float(low), float(high), float(sessions))


def _question(
    a: np.ndarray, b: np.ndarray, relevant: np.ndarray, rng: np.random.Generator, each: int
) -> np.ndarray:
    """(each,) 1 where B got more clicks, -1 where A did, 0 where neither."""
    answers = np.isin(np.arange(len(a)), relevant)
    won = np.empty(each)
    for session in range(each):
        shown, of_b = _draft(a, b, rng)
        looked = rng.random(_SHOWN) < _CONTINUES
        seen = np.cumprod(np.r_[True, looked[:-1]])
        clicked = seen & (rng.random(_SHOWN) < np.where(answers[shown], _CLICKS[1], _CLICKS[0]))
        won[session] = np.sign(np.sum(clicked & of_b) - np.sum(clicked & ~of_b))
    return won


def _draft(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The results shown, and which are B's: in each round both, by chance, give their best left."""
    shown: list[int] = []
    of_b: list[bool] = []
    while len(shown) < _SHOWN:
        for is_b in rng.permutation([False, True]):
            ranking = b if is_b else a
            shown.append(int(next(passage for passage in ranking if passage not in shown)))
            of_b.append(bool(is_b))
    return np.array(shown[:_SHOWN]), np.array(of_b[:_SHOWN])
