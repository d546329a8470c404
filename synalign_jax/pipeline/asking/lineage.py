"""Where a row comes from: what its request was drawn with, its prompt and its model, by names that last."""

from __future__ import annotations

import hashlib

from synalign_jax.llm.protocol import ChatRequest
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.seeds import generator


def draw_seed(config: Config, use: str, number: int) -> int:
    """The sampling seed of one request: asking twice is asking for the same answer."""
    return int(generator(config.run.seed, use, number).integers(2**31 - 1))


def prompt_hash(request: ChatRequest) -> str:
    """Names a prompt in the lineage of its rows."""
    text = "\0".join(f"{message.role}\0{message.content}" for message in request.messages)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
