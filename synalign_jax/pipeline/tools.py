"""What a run is given from outside: its LLM, its embedder, and somewhere to show progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from synalign_jax.llm.protocol import LLM
from synalign_jax.text.protocol import Embedder

from .config import Llm
from .progress import Reporter


@dataclass(frozen=True)
class Tools:
    """Both makers are called only by a stage that has work for them: a finished stage starts no server."""

    open_llm: Callable[[Llm], AbstractAsyncContextManager[LLM]]
    open_embedder: Callable[[], Embedder]
    reporter: Reporter
    cache_folder: Path
