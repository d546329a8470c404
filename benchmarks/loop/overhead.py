"""What the loop takes between its waves, and how long slots stand idle for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from synalign_jax.api.wiring import tools_for
from synalign_jax.llm.protocol import LLM, ChatRequest, ChatResponse, Choice, Usage
from synalign_jax.pipeline.config import Llm
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.folder import RunFolder
from synalign_jax.pipeline.loop.generation import Generation
from synalign_jax.pipeline.run import STAGES, run_stages

SLOTS = 64
_WORDS = Path(__file__).parents[2] / "README.md"


class Waits:
    """Answers after `seconds`, give or take a fifth; counts how many requests it has at every moment."""

    endpoint = "waits"

    def __init__(self, seconds: float) -> None:
        self._seconds, self._words = seconds, _WORDS.read_text(encoding="utf-8").split()
        self.events: list[tuple[float, int]] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        rng = random.Random(f"{request.seed}{request.messages[0].content[-200:]}")
        rows = "texts" in str(request.schema)
        if rows:
            self.events.append((time.monotonic(), 1))
        await asyncio.sleep(self._seconds * rng.uniform(0.8, 1.2))
        if rows:
            self.events.append((time.monotonic(), -1))
            count = request.schema["properties"]["texts"]["maxItems"]  # type: ignore[index]
            texts = ", ".join(f'"{self._sentence(rng)}"' for _ in range(count))
            text = f'{{"texts": [{texts}]}}'
        else:
            names = (request.schema or {}).get("properties", {})
            said = ", ".join(f'"{name}": "{self._sentence(rng)[:40]}"' for name in names)
            text = f"{{{said}}}"
        return ChatResponse((Choice(text, "stop"),), Usage(200, 150), request.model)

    async def aclose(self) -> None: ...

    def _sentence(self, rng: random.Random) -> str:
        return " ".join(w for w in rng.choices(self._words, k=20) if w.isalpha())

    def idle(self) -> tuple[float, float, float]:
        """Seconds from the first request to the last answer; the share of slot seconds that were idle, in all
        and from when the slots were full once to when the last request went out."""
        times = np.array([t for t, _ in self.events])
        busy = np.cumsum([change for _, change in self.events])
        span, held = np.diff(times), busy[:-1]
        whole = 1 - float((held * span).sum() / (SLOTS * span.sum()))
        first = int(np.argmax(busy >= SLOTS)) if (busy >= SLOTS).any() else 0
        last = max(i for i, (_, change) in enumerate(self.events) if change > 0)
        inner = slice(first, last)
        steady = 1 - float((held[inner] * span[inner]).sum() / max(SLOTS * span[inner].sum(), 1e-9))
        return float(times[-1] - times[0]), whole, steady


def measure(seconds: float, waves: int, calls: int, *, steered: bool) -> dict[str, Any]:
    """A run's generation with `calls` calls of five rows at an endpoint that takes `seconds` for each."""
    # Sifting and embedding of answers, while others are waited for; and what the next wave waits for.
    spent: dict[str, float] = dict.fromkeys(("take", "prepare", "accept", "propose"), 0.0)
    cpu = dict(spent)  # of all threads, those of the event loop too: other work on the machine adds nothing
    endpoint = Waits(seconds)

    @contextlib.asynccontextmanager
    async def opened(llm: Llm) -> AsyncIterator[LLM]:
        del llm
        yield endpoint

    def timed(name: str) -> Any:
        plain = getattr(Generation, name)

        def method(self: Generation, *arguments: Any) -> Any:
            start, computed = time.monotonic(), time.process_time()
            try:
                return plain(self, *arguments)
            finally:
                spent[name] += time.monotonic() - start
                cpu[name] += time.process_time() - computed

        return plain, method

    off = {"demonstrations": "off", "attributes": False, "same_meaning": "off"}
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "run": {"folder": folder},
                "data": {"source": "rotten_tomatoes", "few_shot": 200, "test_rows": 100, "ceiling_rows": 0},
                "llm": {"base_url": "http://127.0.0.1:9/v1", "model": "waits", "concurrency": SLOTS},
                "reason": {"preset": "sst2"},
                "generate": {
                    "rows": 5 * calls,
                    "calls_factor": 1.0,
                    "form": "json",
                    "of_the_kind": False,
                    "waves": waves,
                },
                "loop": {"stop": False, **({} if steered else off)},
                "judge": {"student": steered},
            }
        )
        tools = dataclasses.replace(tools_for(config), open_llm=opened)
        names = [stage.name for stage in STAGES]
        patched = {name: timed(name) for name in spent}
        with RunFolder(config) as run:
            run_stages(run, tools, STAGES[: names.index("generate")])
            for name, (_, method) in patched.items():
                setattr(Generation, name, method)
            try:
                run_stages(run, tools, STAGES[: names.index("generate") + 1])
            finally:
                for name, (plain, _) in patched.items():
                    setattr(Generation, name, plain)
    wall, idle, steady = endpoint.idle()
    return {
        "seconds": seconds,
        "wall": wall,
        "idle": idle,
        "steady": steady,
        "take": spent["take"],
        "between": spent["accept"] + spent["propose"],
        "take_cpu": cpu["take"],
        "between_cpu": cpu["accept"] + cpu["propose"],
        "calls": sum(change > 0 for _, change in endpoint.events),
    }
