"""A look before the whole: a few rows by the real endpoint, and what all of them would cost."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from synalign_jax.llm.driver import Outcome
from synalign_jax.llm.estimate import TEMPLATE, Estimate
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import Usage
from synalign_jax.llm.records import Summary

from .asking.ask import Asker, NoAnswersError, open_asker
from .asking.calls import make_desk, mixed_attributes
from .asking.prompts import load_prompts
from .asking.quotas import quotas
from .config import Config, ConfigError, Llm
from .dryrun import PLAN, planned_requests
from .folder import RunFolder, Stage, StageView
from .loop.sieve import Sieve
from .pricing import Part, dealt, priced, summed
from .run import STAGES, run_stages
from .stages.load import UNLABELLED, fields_in
from .stages.reason import named, reasoned
from .stages.trial import choose
from .tools import Tools

_STAGE = Stage("preview", lambda *_: None, ("few_shot", "fields", "clusters"), ())
_TRIAL_CALLS = 2  # in each form: the first of those by which a run tries it


@dataclass(frozen=True)
class Exchange:
    """One request and what came back.

    Attributes:
        what: "attributes" or "rows".
        label: of the real rows shown; None for unlabelled data.
        messages: (role, content) of the prompt.
        answer: the answer as it came, None where there was none.
        error: why there is no answer or it cannot be used, else None.
    """

    what: str
    label: str | None
    messages: tuple[tuple[str, str], ...]
    answer: str | None
    error: str | None


@dataclass(frozen=True)
class PreviewRow:
    """A row that was made. `dropped` says why a run would not keep it; None where it would."""

    text: str
    label: str | None
    attributes: dict[str, str]
    dropped: str | None


@dataclass(frozen=True)
class Facts:
    """What a preview found.

    Attributes:
        exchanges: the requests, in the order they were asked.
        rows: all rows that were made, in the order of the calls.
        asked: rows that were asked for.
        usable: of these, the share that a run would keep.
        spent: tokens of all requests that were sent just now; none of those that the ledger knew.
        money: what they cost; None without prices.
        whole: requests, tokens, cost and time of the whole run, by the answers seen here.
        notes: what the stages before noted that their user should hear.
    """

    exchanges: tuple[Exchange, ...]
    rows: tuple[PreviewRow, ...]
    asked: int
    usable: float
    spent: Usage
    money: float | None
    whole: Estimate
    notes: tuple[str, ...]


def preview(config: Config, tools: Tools, rows: int) -> Facts:
    """Make a few rows as a run does, through its own stages and functions.

    Nothing is kept but what was asked and answered, in the ledger of the run's folder: the run asks for none
    of it again, as far as its requests are the same. The settings may change from one preview to the next.

    Args:
        rows: to be made, shared among the labels as the real rows are; a call makes several, so that there
            can be more.

    Raises:
        What a run raises that comes so far.
    """
    if rows < 1:
        raise ConfigError(f"rows: {rows}; at least 1 is needed")
    ledger = Path(config.run.folder) / "ledger.sqlite"
    paid, _ = _paid(ledger)
    with tempfile.TemporaryDirectory(prefix="synalign-preview-") as scratch:
        alone = _one_by_one(config)  # a batch would take hours
        inside = msgspec.structs.replace(alone, run=msgspec.structs.replace(config.run, folder=scratch))
        with RunFolder(inside, ledger=ledger) as folder:
            before = tuple(itertools.takewhile(lambda stage: stage.name != "trial", STAGES))
            run_stages(folder, tools, before)
            notes = [note for stage in before for note in (folder.record(stage.name) or {})["warnings"]]
            view = folder.view(_STAGE)
            with _Askers(view, inside, tools) as askers:
                form = choose(view, inside, lambda: askers.of(config.generate.llm), _TRIAL_CALLS).form
                outcomes, made, asked = _make(view, inside, askers, form, rows)
            requests = planned_requests(folder.view(PLAN), inside, form)
    notes += view.warnings
    paid_after, seconds = _paid(ledger)
    spent = Usage(
        paid_after.usage.prompt_tokens - paid.usage.prompt_tokens,
        paid_after.usage.completion_tokens - paid.usage.completion_tokens,
    )
    parts = dealt(config, requests)
    usable = min(sum(row.dropped is None for row in made) / asked, 1.0)
    return Facts(
        exchanges=tuple(
            _exchange(what, label, outcome) for (what, label), group in outcomes.items() for outcome in group
        ),
        rows=tuple(made),
        asked=asked,
        spent=spent,
        usable=usable,
        money=paid_after.cost - paid.cost if any(part.settings.prices for part in parts) else None,
        whole=_whole(config, parts, outcomes, usable, seconds),
        notes=tuple(notes),
    )


def _one_by_one(config: Config) -> Config:
    """The settings without batches."""
    replace = msgspec.structs.replace

    def alone(llm: Llm) -> Llm:
        return replace(llm, batch=False)

    judge = config.judge.endpoint
    return replace(
        config,
        llm=alone(config.llm),
        llms={name: alone(llm) for name, llm in config.llms.items()},
        judge=config.judge if judge is None else replace(config.judge, endpoint=alone(judge)),
    )


def _paid(path: Path) -> tuple[Summary, tuple[float, float] | None]:
    """What the ledger's requests cost so far, and the time that answers took."""
    with Ledger(path) as ledger:
        return ledger.summary(), ledger.seconds_an_answer()


Outcomes = dict[tuple[str, str], list[Outcome]]  # by what was asked for and the label


class _Askers:
    """Endpoints, each opened when it is first asked and kept open to the end."""

    def __init__(self, view: StageView, config: Config, tools: Tools) -> None:
        self._with, self._open = (view, config, tools), contextlib.ExitStack()
        self._known: list[tuple[Any, Asker]] = []

    def __enter__(self) -> _Askers:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def of(self, chosen: str | Mapping[str, float] | None) -> Asker:
        for name, asker in self._known:
            if name == chosen:
                return asker
        asker = self._open.enter_context(open_asker(*self._with, chosen))
        self._known.append((chosen, asker))
        return asker


def _make(
    view: StageView, config: Config, askers: _Askers, form: str, rows: int
) -> tuple[Outcomes, list[PreviewRow], int]:
    """Attributes of a few clusters, and a call for rows from each; every row with its verdict."""
    real = view.read_rows("few_shot")
    texts = [row["text"] for row in real]
    clusters = view.read_rows("clusters")
    fields = fields_in(view)
    shape = make_desk(config, load_prompts(config, fields), form, real, fields).shape
    labels = {
        label: math.ceil(wanted / shape.rows_per_call)
        for label, wanted in quotas(Counter(row["label"] for row in real), rows).items()
        if wanted
    }
    chosen = [
        cluster
        for label, calls in labels.items()
        for cluster in [cluster for cluster in clusters if cluster["label"] == label][:calls]
    ]
    outcomes: Outcomes = {}
    made: list[PreviewRow] = []
    asker = askers.of(config.reason.llm)
    prompts = named(view, config, asker, load_prompts(config, fields), texts, clusters, form)
    found = reasoned(config, asker, prompts, chosen, texts, form, "preview: attributes")
    for cluster, outcome in zip(chosen, found.outcomes, strict=True):
        if outcome is not None:
            outcomes.setdefault(("attributes", cluster["label"]), []).append(outcome)
    if found.reached is not None:
        raise found.reached
    attributes = {row["cluster"]: json.loads(row["attributes"]) for row in found.rows}
    own = [
        {**cluster, "attributes": attributes[cluster["cluster"]]}
        for cluster in chosen
        if cluster["cluster"] in attributes
    ]
    if not own:
        raise NoAnswersError("attributes", "", found.outcomes, Path(config.run.folder))
    desk = make_desk(config, prompts, form, real, fields)
    calls = []
    for label, count in labels.items():
        mine = [cluster for cluster in own if cluster["label"] == label]
        for number in range(count if mine else 0):
            cluster = mine[number % len(mine)]
            calls.append(desk.call(cluster, mixed_attributes(config, cluster, mine, number), number))
    answers = askers.of(config.generate.llm).ask("preview: rows", [call.request for call in calls])
    sieve = Sieve(desk, [row["label"] for row in real])
    for call, outcome in zip(calls, answers, strict=True):
        outcomes.setdefault(("rows", call.label), []).append(outcome)
        for row, reason in sieve.sift(call, outcome):
            made.append(PreviewRow(row["text"], row["label"] or None, call.attributes, reason))
    return outcomes, made, sum(call.count for call in calls)


def _exchange(what: str, label: str, outcome: Outcome) -> Exchange:
    request, response, error = outcome.job.request, outcome.response, outcome.error
    return Exchange(
        what,
        None if label == UNLABELLED else label,
        tuple((message.role, message.content) for message in request.messages),
        response.text if response is not None else getattr(error, "raw", None),
        None if error is None else str(error),
    )


def _whole(
    config: Config,
    parts: list[Part],
    outcomes: Outcomes,
    usable: float,
    seconds: tuple[float, float] | None,
) -> Estimate:
    """What the whole run would ask for, by the tokens and the time that answers took here.

    Rows that a run would drop are asked for again, as far as `[generate] calls_factor` allows.
    """
    again = min(1.0 / max(usable, 1e-9), config.generate.calls_factor)
    found = []
    for part in parts:
        if part.what == "rows":
            own = part.requests
            repeated = [own[i % len(own)] for i in range(math.ceil(len(own) * again))]
            part = dataclasses.replace(part, requests=repeated)
        of_its_kind = [
            outcome
            for (kind, _), group in outcomes.items()
            for outcome in group
            if kind == part.what and outcome.response is not None
        ]
        # Those of its own model, where it had a turn.
        own_model = [o for o in of_its_kind if o.job.request.model == part.settings.model]
        answered = own_model or of_its_kind
        measured: dict[str, Any] = {}
        if answered:
            measured["share_of_max"] = _shares(answered)
            measured["count_tokens"] = _counter(answered)
        if seconds is not None:
            measured["seconds_an_answer"] = seconds
        found.append(priced(config, part, **measured))
    return summed(config, parts, found)


def _shares(answered: Sequence[Outcome]) -> tuple[float, float]:
    """The share of `max_tokens` that answers used, at least and at most."""
    shares = [o.response.usage.completion_tokens / o.job.request.max_tokens for o in answered if o.response]
    return min(shares), max(shares)


def _counter(answered: Sequence[Outcome]) -> Any:
    """Tokens of a text, by the tokens a byte of the prompts that were sent."""
    size = sum(len(m.content.encode("utf-8", "replace")) for o in answered for m in o.job.request.messages)
    # What the chat template adds to a message is counted by `estimate`.
    around = TEMPLATE * sum(len(o.job.request.messages) for o in answered)
    tokens = max(0, sum(o.response.usage.prompt_tokens for o in answered if o.response) - around)
    return lambda text: round(len(text.encode("utf-8", "replace")) * tokens / max(size, 1))
