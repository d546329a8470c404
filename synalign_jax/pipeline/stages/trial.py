"""Stage trial: a handful of calls that show in which form this model is best asked.

Reads `few_shot` and `clusters`; writes `form`: the form, and the share of usable rows in each that was tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from synalign_jax.llm.protocol import BudgetReached, LLMError
from synalign_jax.pipeline.asking.ask import Asker, open_asker
from synalign_jax.pipeline.asking.calls import Call, Desk, make_desk
from synalign_jax.pipeline.asking.forms import CALM, CALM_TEMPERATURE, FORMS, JSON, LIST, LISTS
from synalign_jax.pipeline.asking.prompts import load_prompts
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.loop.sieve import Sieve
from synalign_jax.pipeline.tools import Tools

from .load import fields_in

CALLS = 4
# A model that does this well at JSON needs no other form; below it the list has to be better.
_GOOD = 0.8
_NAMES = {JSON: "JSON", LIST: "lists", CALM: "lists at a lower temperature"}


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Choose the form: JSON where the model can do it, otherwise that of more usable rows.

    Where the budget ends before that is known, what was seen decides.

    Raises:
        LLMError: the endpoint refuses every request.
    """
    with contextlib.ExitStack() as stack:

        def asker() -> Asker:
            return stack.enter_context(open_asker(view, config, tools, config.generate.llm))

        found = choose(view, config, asker)
    view.write_json("form", {"form": found.form, "usable": found.usable})
    view.facts.update(form=found.form, **{f"usable_{name}": share for name, share in found.usable.items()})


@dataclass(frozen=True)
class Choice:
    """The form, and the share of usable rows in each that was tried, in the order they were tried."""

    form: str
    usable: dict[str, float]


def choose(view: StageView, config: Config, asker: Callable[[], Asker], calls: int = CALLS) -> Choice:
    """The form by what the settings say, or by a few `calls` in each; what the user should hear is noted.

    Args:
        asker: opens the endpoint, if it is needed.
    """
    form = config.generate.form
    if form == "auto" and config.generate.template is not None:
        form = JSON
    if form != "auto":
        return Choice(form, {})
    usable, reached = _tried(view, config, asker(), calls)
    form = max(usable, key=lambda name: (usable[name], name == JSON), default=JSON)
    if reached is not None:
        view.warn(f"{reached}: the model is asked for {_NAMES[form]}, by what was seen until then")
    elif form in LISTS:
        view.warn(
            f"of the rows asked for as JSON {usable.get(JSON, 0.0):.0%} could be used, of those asked for as"
            f' a list {usable[form]:.0%}: the model is asked for {_NAMES[form]} ([generate] form = "json"'
            " decides otherwise)"
        )
    elif usable.get(JSON, 0.0) < _GOOD:
        view.warn(f"only {usable.get(JSON, 0.0):.0%} of the rows that the model wrote on trial could be used")
    return Choice(form, usable)


def trial_calls(desk: Desk, clusters: Sequence[dict[str, Any]], calls: int = CALLS) -> list[Call]:
    """The first so many calls by which the form of `desk` is tried; a run keeps the rows that they bring."""
    return [
        desk.call(clusters[number * len(clusters) // CALLS], {}, number, use=f"trial {desk.form}")
        for number in range(min(calls, CALLS, len(clusters)))
    ]


def _tried(
    view: StageView, config: Config, asker: Asker, calls: int
) -> tuple[dict[str, float], BudgetReached | None]:
    """The share of usable rows in each form that was tried, and what ended it before all was tried."""
    usable: dict[str, float] = {}
    for form in FORMS:
        if form == CALM and config.llm.temperature <= CALM_TEMPERATURE:
            break
        try:
            share, reached = _usable(view, config, asker, form, calls)
        except LLMError as error:  # an endpoint that knows chats alone
            if form == JSON:
                raise
            view.warn(f"the endpoint does not go on with a text ({error}); it is asked for JSON")
            break
        if share is not None:
            usable[form] = share
        if reached is not None:
            return usable, reached
        if usable.get(form, 0.0) >= _GOOD:
            break
    return usable, None


def _usable(
    view: StageView, config: Config, asker: Asker, form: str, count: int
) -> tuple[float | None, BudgetReached | None]:
    """Of the rows asked for in a few calls, the share of those that would be kept; None without an answer."""
    real = view.read_rows("few_shot")
    fields = fields_in(view)
    desk = make_desk(config, load_prompts(config, fields), form, real, fields)
    sieve = Sieve(desk, [row["label"] for row in real])
    calls = trial_calls(desk, view.read_rows("clusters"), count)
    requests = [call.request for call in calls]
    if form == LIST and not config.llm.batch:  # many endpoints know chats alone, which one call shows
        asker.ask_within(f"trial: can it write a {form}?", requests[:1])
    outcomes, reached = asker.ask_within(f"trial: rows as {form}", requests)
    answered = sum(outcome is not None for outcome in outcomes)
    if not answered:
        return None, reached
    if form != JSON and all(outcome is None or outcome.response is None for outcome in outcomes):
        raise next(outcome.error for outcome in outcomes if outcome is not None and outcome.error is not None)
    kept = sum(
        reason is None
        for call, outcome in zip(calls, outcomes, strict=True)
        for _, reason in sieve.sift(call, outcome)
    )
    asked = sum(call.count for call, outcome in zip(calls, outcomes, strict=True) if outcome is not None)
    return min(kept / asked, 1.0), reached
