"""Use it, use it at this share, or do not use it: what the real rows say before anything is trained."""

from __future__ import annotations

from statistics import NormalDist

from .mixture import Gain, Verdict

_GUESS = 0.84  # of pools with such labels, so many are less than one standard error above chance
_TOLD = 100  # real rows from which their cross-validation tells a gain from none
_LEANS = 0.6  # the sureness of so many below which they have not told one
_FULL = 0.5  # a mean weight from which rows of the pool are said to count like real ones


def gain_of(mean: float, error: float) -> Gain:
    """With its normal 95 % interval."""
    half = NormalDist().inv_cdf(0.975) * error
    return Gain(mean, mean - half, mean + half)


def error_of(gain: Gain) -> float:
    """The standard error behind a gain of `gain_of`."""
    return (gain.upper - gain.lower) / (2 * NormalDist().inv_cdf(0.975))


def sureness(mean: float, error: float) -> float:
    """The chance that the true mean is above 0."""
    if error > 0:
        return NormalDist().cdf(mean / error)
    return 0.5 if mean == 0 else float(mean > 0)


def worth_using(gain: float, sure: float, real_rows: int) -> bool:
    """Whether a pool is used by which the loss is expected to fall so far, and by this chance.

    More likely than not, and no test: that would throw most pools away that help by less than the real rows
    can tell. Of an even chance many real rows say that there is nothing to gain, few that they do not know.
    """
    return gain > 0 and (real_rows <= _TOLD or sure >= _LEANS)


def verdict(
    accuracy: Gain,
    sure: float,
    *,
    used: bool,
    mute: bool,
    share: float,
    mean_weight: float,
    real_rows: int,
) -> Verdict:
    """`sure` is the chance that the pool so weighed helps; `mute` says that its labels say nothing."""
    if mute:
        return Verdict(
            "do not use",
            f"Do not use these rows: train on the {real_rows:,} real rows alone. Their labels are as if dealt"
            " by chance: students of one part of them foretell those of another no better than by guessing.",
            max(_GUESS, 1.0 - sure),
        )
    if not used:
        return Verdict(
            "do not use",
            f"Do not use these rows: train on the {real_rows:,} real rows alone. The best that could be made"
            f" of them (share {share:.2g}) would bring {_gained(accuracy)}, and cross-validation on the"
            f" real rows is {_percent(sure)} sure that the loss falls at all.",
            1.0 - sure,
        )
    how = ""
    if mean_weight < _FULL:
        how = f", together counting as {share:.2g} times the real rows ({share * real_rows:,.0f} rows)"
    what = f"{_expected(accuracy)}, and cross-validation on the real rows"
    what += f" is {_percent(sure)} sure that its loss falls"
    return Verdict(
        "use" if mean_weight >= _FULL else "use at this share",
        f"Use these rows with the weights{how}: a student of the real rows and these is expected {what}.",
        sure,
    )


def verdict_of_labels(
    labels: tuple[int, int, int],
    accuracy: Gain,
    sure: float,
    *,
    used: bool,
    mean_weight: float,
    real_rows: int,
) -> Verdict:
    """For rows of several labels. `labels`: those that the pool helps with, those that were judged, and those
    that were not.
    """
    helped, judged, left_out = labels
    asked = f"{judged} labels, each judged by itself" if judged > 1 else "the one label that can be judged"
    more = f" ({left_out} rarer ones were not judged)" if left_out else ""
    chance = f"cross-validation on the real rows is {_percent(sure)} sure that their mean loss falls"
    if not used:
        return Verdict(
            "do not use",
            f"Do not use these rows: train on the {real_rows:,} real rows alone. They would help with"
            f" {helped} of {asked}{more}, and {chance}.",
            1.0 - sure,
        )
    return Verdict(
        "use" if mean_weight >= _FULL else "use at this share",
        f"Use these rows with the weights: they help with {helped} of {asked}{more}. A student that says yes"
        f" or no to each label is expected {_expected(accuracy)}, and {chance}.",
        sure,
    )


def not_judged(real_rows: int, why: str, rows: str, learner: str) -> Verdict:
    """`rows` and `learner`: what the rows are and what learns from them, in words."""
    return Verdict(
        "unknown",
        f"Whether these {rows} make a {learner} better is not known: {why}. What is known is how near the"
        " pool is to the real rows, and what in it repeats or copies; a nearer pool need not train better."
        f" To find out, train a {learner} on the {real_rows:,} real rows alone, and one on these and the pool"
        " with its weights, and compare them on real rows that neither has seen. The weights bring the pool"
        " nearer to the real rows and together count for no more than they.",
        0.5,
    )


def _gained(accuracy: Gain) -> str:
    ends = f"{_points(accuracy.lower)} to {_points(accuracy.upper)}"
    return f"{_points(accuracy.value)} points of accuracy ({ends})"


def _expected(accuracy: Gain) -> str:
    if accuracy.value > 0:
        return f"to gain {_gained(accuracy)}"
    if accuracy.upper > 0:
        # In the study these gained 2.9 points on the mean: hits on few rows tell less than the loss does.
        return (
            "to have a lower loss, at an accuracy that cannot be told from that of the real rows alone"
            f" ({_gained(accuracy)})"
        )
    return f"to be better in its probabilities and not in its choices ({_gained(accuracy)})"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _percent(chance: float) -> str:
    """Never all: the chance comes from few rows."""
    if chance > 0.99:
        return "over 99%"
    return f"{chance:.0%}" if chance > 0.6 else f"only {chance:.0%}"
