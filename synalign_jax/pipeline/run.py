"""The whole job. The order of the stages is written here and nowhere else."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from .config import Config, caps_of
from .folder import RunFolder, RunFolderError, Stage, open_finished, stage_record
from .loop.course import BUDGET
from .stages import align, embed, evaluate, explore, generate, load, reason, report, resample, trial
from .tools import Tools

STAGES = (
    Stage("load", load.run, (), ("few_shot", "held_out", "fields")),
    Stage("embed_real", embed.real, ("few_shot",), ("real_vectors",)),
    Stage("explore", explore.run, ("few_shot", "real_vectors"), ("clusters", "coverage")),
    Stage("trial", trial.run, ("few_shot", "fields", "clusters"), ("form",)),
    Stage("reason", reason.run, ("few_shot", "fields", "clusters", "form"), ("attributes",)),
    Stage(
        "generate",
        generate.run,
        ("few_shot", "fields", "real_vectors", "clusters", "form", "attributes"),
        ("synthetic", "rejected", "loop"),
    ),
    Stage("embed_synthetic", embed.synthetic, ("synthetic",), ("synthetic_vectors",)),
    Stage(
        "align",
        align.run,
        ("few_shot", "fields", "real_vectors", "synthetic", "rejected", "synthetic_vectors"),
        ("weights", "distribution", "alignment", "mixture"),
    ),
    Stage(
        "resample",
        resample.run,
        ("few_shot", "fields", "real_vectors", "synthetic", "synthetic_vectors", "weights", "distribution"),
        ("aligned", "weighted"),
    ),
    Stage(
        "evaluate",
        evaluate.run,
        (
            "few_shot",
            "real_vectors",
            "synthetic",
            "synthetic_vectors",
            "weights",
            "distribution",
            "aligned",
            "held_out",
        ),
        ("evaluation",),
    ),
    Stage(
        "report",
        report.run,
        (
            "few_shot",
            "real_vectors",
            "coverage",
            "attributes",
            "loop",
            "synthetic_vectors",
            "weights",
            "distribution",
            "alignment",
            "mixture",
            "weighted",
            "aligned",
            "evaluation",
        ),
        ("report",),
    ),
)


def run(config: Config, tools: Tools) -> Path:
    """Run every stage that has not finished yet, in order, and return the path of the report.

    It can be killed at any instant and called again: finished stages are not repeated, and no LLM request
    whose answer was recorded is sent again. A run that ended with what its budget had bought goes on where
    the caps have changed since.

    Raises:
        ConfigError, DataError, RunFolderError, InputError: settings or data that cannot be used.
        LLMError: the endpoint refuses every request.
        NoAnswersError: there is not one row to go on with.
        KeyboardInterrupt: after it, the same call goes on where it stopped.
    """
    with RunFolder(config) as folder:
        if _caps_changed(folder):
            _forget_answers(folder)
        run_stages(folder, tools, STAGES)
    return folder.root / "report.html"


def run_stages(folder: RunFolder, tools: Tools, stages: tuple[Stage, ...]) -> None:
    """Run those of `stages` that have not finished yet."""
    for stage in stages:
        if folder.record(stage.name) is not None:
            tools.reporter.say(f"{stage.name:<16} done before")
            continue
        try:
            record = folder.run(stage, tools, *_extra(stage, folder))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunFolderError(
                f"{error.filename or folder.root}: the disk is full. Free some space and start again:"
                " everything up to here is kept"
            ) from error
        tools.reporter.say(f"{stage.name:<16} {record['seconds']:7.1f} s   {_facts(record['facts'])}")
        for warning in record["warnings"]:
            tools.reporter.say(f"{'':<16} note: {warning}")


def again(config: Config, tools: Tools, stages: tuple[str, ...]) -> Path:
    """Repeat the named stages of a finished run, in order, and whatever is missing besides."""
    with RunFolder(config, amend=True) as folder:
        for name in stages:
            folder.forget(name)
    return run(config, tools)


def reopen(folder: str | Path) -> None:
    """Make the stages of a run that ask the LLM, and all after them, run again: answers come from the ledger,
    and only requests that it holds no answer for are sent.

    Raises:
        RunFolderError: the folder holds no run, or another process is at work in it.
    """
    with RunFolder(open_finished(folder)) as opened:
        _forget_answers(opened)


def _forget_answers(folder: RunFolder) -> None:
    names = [stage.name for stage in STAGES]
    for name in names[names.index("trial") :]:
        folder.forget(name)


def _caps_changed(folder: RunFolder) -> bool:
    """Whether the run went on without the rows that a budget did not reach, and the budget is another now."""
    if folder.record("generate") is None:
        return False
    loop = json.loads((folder.root / "loop.json").read_text(encoding="utf-8"))
    caps = caps_of(folder.config)
    return loop["ended"] == BUDGET and loop.get("caps", caps) != caps  # older runs do not say


def records(folder: Path) -> list[dict[str, Any]]:
    """What the finished stages of a run noted about themselves, in order: seconds, facts, warnings."""
    return [record for stage in STAGES if (record := stage_record(folder, stage.name)) is not None]


def _extra(stage: Stage, folder: RunFolder) -> tuple[Any, ...]:
    """The report also tells how the stages before it went."""
    return (records(folder.root),) if stage.name == "report" else ()


def _facts(facts: dict[str, Any]) -> str:
    parts = []
    for name, value in facts.items():
        if name == "remarks":  # these are said as notes
            continue
        if isinstance(value, float):
            value = f"{value:.4g}"
        elif isinstance(value, dict):
            if len(value) > 6:
                continue
            value = " ".join(f"{key or 'none'}:{item}" for key, item in value.items()) or "none"
        elif isinstance(value, list):
            value = " ".join(str(item) for item in value)
        parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)
