"""Stage generate: attributes in, new rows out; weighed and steered from wave to wave.

Reads `few_shot`, `fields`, `real_vectors`, `clusters`, `form` and `attributes`; writes `synthetic` (rows
kept, with their lineage; what there is so far while it works), `rejected` (rows dropped, with the reason) and
`loop`, the record of the waves, anew after each (JSON):

    wanted, rows    {label: rows wanted}, {label: rows kept}
    rejected        {reason: rows dropped}
    says_nothing    labels with too few real rows to learn anything of
    waves           one object a wave, its fields those of `loop.course.Point`
    stopped_at      the wave whose answers led to the end before all rows were there, else null
    ended           why it ended, in words; null while it works
    caps            {setting: cap} that held for requests, tokens and money, null where there was none
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from synalign_jax.core.checks import InputError
from synalign_jax.core.kernels import median_length_scale
from synalign_jax.pipeline.asking.ask import Asker, NoAnswersError, open_asker
from synalign_jax.pipeline.asking.calls import make_desk
from synalign_jax.pipeline.asking.prompts import load_prompts
from synalign_jax.pipeline.asking.quotas import quotas
from synalign_jax.pipeline.config import Config, caps_of
from synalign_jax.pipeline.data.growing import GrowingRows
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.loop.checks import Checks, judging
from synalign_jax.pipeline.loop.course import BUDGET
from synalign_jax.pipeline.loop.generation import Generation
from synalign_jax.pipeline.loop.label_state import LabelState
from synalign_jax.pipeline.loop.rules import hidden_rows, personal_data, user_rules
from synalign_jax.pipeline.loop.sieve import Sieve
from synalign_jax.pipeline.loop.till import Till
from synalign_jax.pipeline.progress import Silent
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text import EmbeddingCache

from .embed import vectors_of
from .load import fields_in, with_fields
from .trial import trial_calls

SYNTHETIC = pa.schema(
    [
        ("text", pa.string()),
        ("label", pa.string()),
        ("asked_label", pa.string()),
        ("cluster", pa.int64()),
        ("demonstrations", pa.list_(pa.int64())),
        ("attributes", pa.string()),
        ("prompt_hash", pa.string()),
        ("model", pa.string()),
    ]
)
_FEWEST = 2  # rows that can be weighed
REJECTED = SYNTHETIC.append(pa.field("reason", pa.string()))


def run(view: StageView, config: Config, tools: Tools) -> None:
    """Ask for rows until every label has its share, or more no longer helps (SynAlign, section 3.2, stage 2).

    Raises:
        NoAnswersError: no row could be kept, or one alone.
        LLMError: the endpoint refuses every request.
    """
    with (
        open_asker(view, config, tools, config.generate.llm) as asker,
        _open_judge(view, config, tools) as judge,
        EmbeddingCache(tools.cache_folder) as cache,
    ):
        loop, checks = _generation(view, config, tools, asker, judge, cache)
        reached = asker.take_turns("generate: rows", loop)
    if reached is not None:
        loop.stop(BUDGET)
        view.warn(f"{reached}: the run goes on with the {len(loop.kept)} rows that it has")
    _tell(view, config, loop, ended=True)
    view.write_batches("rejected", loop.rejected.schema, loop.rejected.batches())
    dropped = loop.dropped
    if len(loop.kept) < _FEWEST:
        what = "second row, and one alone is no set" if len(loop.kept) else "row"
        raise NoAnswersError(what, "", loop.failed, view.root, dropped, reached)
    for state in sorted(loop.labels.values(), key=lambda state: state.label):
        if not state.rows:
            view.warn(f"no row could be kept for the label '{state.label}': the pool lacks it")
        elif state.missing > 0 and loop.stopped is None:
            view.warn(
                f"{len(state.rows)} of {state.wanted} rows wanted for the label '{state.label}' after"
                f" {state.calls} calls; [generate] calls_factor allows more"
            )
    if config.rules.personal_data == "report":
        held = sum(bool(personal_data(text)) for text in loop.kept.column("text"))
        view.facts["rows_with_personal_data"] = held
        if held:
            view.warn(
                f"{held} of {len(loop.kept)} new rows seem to hold personal data ([rules] personal_data)"
            )
    if len(loop.weigher.says_nothing) == len(loop.weigher.rows):
        view.warn("the real rows are too few to say what the new ones lack: waves went by plan")
    view.facts.update(
        rows=len(loop.kept),
        calls=sum(state.answered for state in loop.labels.values()),
        failed_calls=len(loop.failed),
        relabelled=loop.relabelled,
        **checks.facts,
        rejected=dict(sorted(dropped.items())),
        labels={state.label: len(state.rows) for state in loop.labels.values()},
        ended=loop.why(),
    )


@contextlib.contextmanager
def _open_judge(view: StageView, config: Config, tools: Tools) -> Iterator[Asker | None]:
    """The endpoint that judges, if it is another than the one that writes."""
    if not config.judge.llm or config.judge.endpoint is None:
        yield None
        return
    theirs = msgspec.structs.replace(config, llm=judging(config))
    opened = dataclasses.replace(tools, reporter=Silent())
    with open_asker(view, theirs, opened) as asker:
        yield asker


def _generation(
    view: StageView,
    config: Config,
    tools: Tools,
    asker: Asker,
    judge: Asker | None,
    cache: EmbeddingCache,
) -> tuple[Generation, Checks]:
    real = view.read_rows("few_shot")
    texts = [row["text"] for row in real]
    real_labels = [row["label"] for row in real]
    vectors = np.asarray(view.read_array("real_vectors"))
    attributes = {row["cluster"]: json.loads(row["attributes"]) for row in view.read_rows("attributes")}
    clusters: list[dict[str, Any]] = [
        {**cluster, "attributes": attributes[cluster["cluster"]]}
        for cluster in view.read_rows("clusters")
        if cluster["cluster"] in attributes
    ]
    form, fields = view.read_json("form"), fields_in(view)
    hidden = hidden_rows(config.rules, texts, lambda _: None)
    desk = make_desk(config, load_prompts(config, fields), form["form"], real, fields, hidden)
    # In the order in which they were asked, so that each is known to the endpoint that it was put to.
    tried = [dataclasses.replace(desk, form=name) for name in form["usable"]]
    first = [call for own in tried for call in trial_calls(own, view.read_rows("clusters"))]
    labels = {
        label: LabelState(
            label,
            wanted,
            math.ceil(config.generate.calls_factor * wanted / desk.shape.rows_per_call),
            [cluster for cluster in clusters if cluster["label"] == label],
        )
        for label, wanted in quotas(Counter(real_labels), config.generate.rows).items()
        if wanted
    }
    # Bars of the embedder would break the one that is shown.
    quiet = dataclasses.replace(tools, reporter=Silent())
    till = Till()
    checks = Checks(
        desk, real_labels, vectors, between=asker.ask_between, judge=judge, till=till, say=view.warn
    )
    loop = Generation(
        desk,
        labels,
        vectors,
        real_labels,
        Sieve(desk, real_labels, user_rules(config.rules)),
        embed=lambda texts: vectors_of(view, quiet, texts, "generate: embed rows", cache=cache),
        length_scale=_length_scale(vectors),
        kept=GrowingRows(with_fields(SYNTHETIC, fields), view.root),
        rejected=GrowingRows(with_fields(REJECTED, fields), view.root),
        first=first,
        checks=checks,
        till=till,
        told=lambda loop: _tell(view, config, loop),
        scratch=view.root,
    )
    return loop, checks


def _length_scale(vectors: np.ndarray) -> float:
    try:
        return float(median_length_scale(vectors))
    except InputError:  # identical rows: no scale is better than another
        return 1.0


def _tell(view: StageView, config: Config, loop: Generation, *, ended: bool = False) -> None:
    """Leave what there is for whoever looks into the folder."""
    view.write_batches("synthetic", loop.kept.schema, loop.kept.batches())
    view.write_json(
        "loop",
        {
            "wanted": {label: state.wanted for label, state in loop.labels.items()},
            "rows": {label: len(state.rows) for label, state in loop.labels.items()},
            "says_nothing": loop.weigher.says_nothing,
            "rejected": dict(loop.dropped),
            "waves": [dataclasses.asdict(point) for point in loop.points],
            "stopped_at": loop.stopped_at,
            "ended": loop.why() if ended else None,
            "caps": caps_of(config),
        },
    )
