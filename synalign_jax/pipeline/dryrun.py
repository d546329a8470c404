"""What a run would ask and what that would cost, before any request is sent."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path

from synalign_jax.llm.estimate import Estimate
from synalign_jax.llm.protocol import ChatRequest

from .asking.calls import make_desk
from .asking.forms import JSON
from .asking.prompts import load_prompts
from .asking.quotas import quotas
from .config import Config
from .folder import RunFolder, Stage, StageView, replacing
from .loop.checks import judging
from .loop.judge import Judge
from .pricing import dealt, priced, summed
from .run import STAGES, run_stages
from .stages.load import fields_in
from .stages.reason import FALLBACK, attributes_request
from .tools import Tools

PLAN = Stage("plan", lambda *_: None, ("few_shot", "fields", "clusters"), ())
# What stands for an answer that is not there yet: about as long as attributes are.
_PLACEHOLDER = "(to be summarised by the model from the rows above)"


def dry_run(config: Config, tools: Tools) -> tuple[Estimate, Path]:
    """Run the stages before the first LLM request, render every prompt, and bound tokens, cost and time.

    The rows' prompts hold a placeholder for the attributes, and no call is repeated, so that the true figures
    can be higher by what answers cost that are dropped.

    Returns:
        the estimate, and the path of the prompts (JSONL).
    """
    with RunFolder(config) as folder:
        before = itertools.takewhile(lambda stage: stage.name != "trial", STAGES)
        run_stages(folder, tools, tuple(before))
        planned = planned_requests(folder.view(PLAN), config)
        parts = dealt(config, planned)
        path = folder.root / "prompts.jsonl"
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for request in (request for part in parts for request in part.requests):
                messages = [{"role": m.role, "content": m.content} for m in request.messages]
                line = {"messages": messages, "max_tokens": request.max_tokens, "model": request.model}
                file.write(json.dumps(line) + "\n")
    return summed(config, parts, [priced(config, part) for part in parts]), path


def planned_requests(
    view: StageView, config: Config, form: str | None = None
) -> dict[str, list[ChatRequest]]:
    """What a run asks for when no row is dropped: requests for "attributes", for "rows" and, where a model
    judges them, for its "judge".

    Args:
        form: in which the model is asked, where that is known.
    """
    if form is None:
        form = JSON if config.generate.form == "auto" else config.generate.form
    rows = view.read_rows("few_shot")
    texts = [row["text"] for row in rows]
    clusters = view.read_rows("clusters")
    fields = fields_in(view)
    prompts = load_prompts(config, fields)
    if not prompts.attributes:
        prompts = prompts.with_attributes(FALLBACK)
    attributes = [attributes_request(config, prompts, cluster, texts, form) for cluster in clusters]
    requests: list[ChatRequest] = []
    desk = make_desk(config, prompts, form, rows, fields)
    for label, wanted in quotas(Counter(row["label"] for row in rows), config.generate.rows).items():
        own = [
            {**cluster, "attributes": dict.fromkeys(prompts.attributes, _PLACEHOLDER)}
            for cluster in clusters
            if cluster["label"] == label
        ]
        requests += [
            desk.call(cluster := own[number % len(own)], cluster["attributes"], number).request
            for number in range(math.ceil(wanted / desk.shape.rows_per_call))
        ]
    planned = {"attributes": attributes, "rows": requests}
    labels = sorted({row["label"] for row in rows})
    if config.judge.llm and len(labels) > 1:
        judge = Judge(config, judging(config), prompts, labels, lambda _: [])
        planned["judge"] = judge.planned(texts, config.generate.rows)
    return planned
