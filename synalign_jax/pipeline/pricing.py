"""Which endpoint would get which of the planned requests, and what each would cost at its own prices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from synalign_jax.llm.budget import Amount
from synalign_jax.llm.estimate import Estimate, Interval, estimate
from synalign_jax.llm.protocol import ChatRequest

from .asking.ask import budget, limits
from .asking.endpoints import next_of, put, shares_of
from .config import Config, Llm
from .loop.checks import judging

_A_BATCH = (60.0, 86_400.0)  # seconds that a batch takes, at least and at most


@dataclass(frozen=True)
class Part:
    """What one endpoint would get of the requests for one purpose.

    Attributes:
        what: "attributes", "rows" or "judge".
        name: of the endpoint, as the settings call its section.
    """

    what: str
    name: str
    settings: Llm
    requests: list[ChatRequest]


def dealt(config: Config, planned: Mapping[str, Sequence[ChatRequest]]) -> list[Part]:
    """The requests as their endpoints would get them, by the shares and turns of a run."""
    parts = []
    for what, requests in planned.items():
        if what == "judge" and config.judge.endpoint is not None:
            sections = {"judge.endpoint": judging(config)}
            shares = {"judge.endpoint": 1.0}
        else:
            shares = shares_of(config.reason.llm if what == "attributes" else config.generate.llm)
            sections = {name: config.llm if name == "llm" else config.llms[name] for name in shares}
        own = [Part(what, name, sections[name], []) for name in shares]
        for request in requests:
            part = own[next_of(list(shares.values()), [len(part.requests) for part in own])]
            part.requests.append(put(request, part.settings, config.llm))
        parts += [part for part in own if part.requests]
    return parts


def priced(config: Config, part: Part, **measured: object) -> Estimate:
    """What a part costs; `measured` are arguments of `estimate`."""
    caps = budget(config.llm, part.settings)
    found = estimate(part.requests, budget=caps, limits=limits(part.settings), **measured)  # type: ignore[arg-type]
    return _as_batches(found) if part.settings.batch else found


def _as_batches(found: Estimate) -> Estimate:
    """In batches all is asked at once, and answered within a day."""
    return replace(found, seconds=Interval(*_A_BATCH), batched=True)


def summed(config: Config, parts: Sequence[Part], found: Sequence[Estimate]) -> Estimate:
    """All parts as one: what is for one purpose is asked at the same time, the purposes one after another.

    Where there are several endpoints, each is told apart in `parts`.
    """
    seconds = [
        _most([one.seconds for part, one in zip(parts, found, strict=True) if part.what == what])
        for what in dict.fromkeys(part.what for part in parts)
    ]
    whole = replace(_added(config, found), seconds=_sum(seconds))
    names = list(dict.fromkeys(part.name for part in parts))
    by_name = {
        name: [one for part, one in zip(parts, found, strict=True) if part.name == name] for name in names
    }
    models = {part.name: part.settings.model for part in parts}
    unpriced = tuple(name for name in names if any(one.cost is None for one in by_name[name]))
    if len(names) == 1:
        return whole
    return replace(
        whole,
        unpriced=unpriced if whole.cost else (),
        parts=tuple((f"[{_section(n)}] {models[n]}", _added(config, by_name[n])) for n in names),
    )


def _section(name: str) -> str:
    return name if name in ("llm", "judge.endpoint") else f"llms.{name}"


def _added(config: Config, found: Sequence[Estimate]) -> Estimate:
    """Tokens, costs and times added up; the cost is that of what has prices."""
    requests = sum(one.requests for one in found)
    prompt = _sum([one.prompt_tokens for one in found])
    completion = _sum([one.completion_tokens for one in found])
    costs = [one.cost for one in found if one.cost is not None]
    cost = _sum(costs) if costs else None
    most = Amount(requests, math.ceil(prompt.high + completion.high), cost.high if cost else 0.0)
    seconds = _sum([one.seconds for one in found])
    return Estimate(
        requests,
        prompt,
        completion,
        cost,
        seconds,
        most.passes(budget(config.llm)),
        batched=any(one.batched for one in found),
    )


def _sum(parts: Sequence[Interval]) -> Interval:
    return Interval(sum(part.low for part in parts), sum(part.high for part in parts))


def _most(parts: Sequence[Interval]) -> Interval:
    return Interval(max(part.low for part in parts), max(part.high for part in parts))
