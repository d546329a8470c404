"""The whole job from Python: settings in, everything that came of them out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any

from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.progress import Reporter
from synalign_jax.pipeline.run import run as run_pipeline

from .progress import Stoppable, reporter_for
from .result import RunResult
from .settings import config_of
from .wiring import tools_for

Settings = str | os.PathLike[str] | Mapping[str, Any] | Config


def run(config: Settings, *, progress: bool = True) -> RunResult:
    """Load real rows, explore them, have the LLM write new ones, align, evaluate and report.

    It can be interrupted at any instant (Ctrl-C, a notebook's stop button, a kill): called again with the
    same settings it goes on where it stopped, and asks the LLM for nothing twice. A finished run is read
    from its folder. It works in a notebook's cell as well as in a script.

    Args:
        config: the path of a TOML file (`synalign demo --save my.toml` writes one to start from), a
            dictionary of its sections, a `Config`, or the folder of a run that exists. Relative paths count
            from the file's folder, or from the working directory.
        progress: show how far it is, as bars in a notebook or on a terminal.

    Raises:
        ConfigError: a setting that is missing, unknown or cannot be used.
        RunFolderError: the folder holds a run with other settings, is in use, or cannot be written.
        DataError, InputError: data that cannot be used; the row or column is named.
        NoAnswersError: the LLM gave nothing that could be used.
        LLMError: the endpoint refuses every request (key, model, address).

    Example:
        ```python
        import synalign_jax as sa

        result = sa.run({
            "run": {"folder": "runs/reviews"},
            "data": {"source": "reviews.jsonl"},
            "llm": {"base_url": "http://localhost:8000/v1", "model": "my-model"},
            "generate": {"rows": 500},
        })
        result                           # in a notebook: numbers, rows, and where the report is
        frame = result.to_pandas()       # the aligned rows
        ```
    """
    return _run(config, reporter_for(progress))


async def run_async(config: Settings, *, progress: bool = True) -> RunResult:
    """`run` for code that has an event loop of its own, which goes on meanwhile.

    Cancelled, it ends at the next safe point, a few seconds later at most, and what is done is kept: awaited
    again with the same settings it goes on where it stopped. Cancelled a second time, it does not wait.

    Args:
        config, progress: as for `run`.

    Raises:
        What `run` raises, and asyncio.CancelledError.

    Example:
        ```python
        result = await sa.run_async("my.toml")
        ```
    """
    stop = threading.Event()
    reporter = Stoppable(reporter_for(progress), stop)
    work = asyncio.ensure_future(asyncio.to_thread(_run, config, reporter))
    work.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, whoever waits
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        # Its folder is free again, and nothing of it goes on, when the caller hears of it.
        await asyncio.wait([work])
        raise


def _run(config: Settings, reporter: Reporter) -> RunResult:
    settings = config_of(config)
    run_pipeline(settings, tools_for(settings, reporter))
    return RunResult.of(settings)
