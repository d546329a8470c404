"""Compiled programs kept between starts."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def keep_compiled(folder: str | Path | None = None) -> Path:
    """Keep XLA's compiled programs in `folder`, so that the next start compiles nothing.

    Call it before the first computation; it changes JAX's settings for the whole process. Where the
    environment names JAX a folder ($JAX_COMPILATION_CACHE_DIR), that one is used, by the rules set there.

    Args:
        folder: None takes `synalign-jax/xla` in the user's cache folder. Where it cannot be written, nothing
            is kept, and nothing is said.
    """
    if given := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(given)
    if folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "synalign-jax" / "xla"
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return folder
    if not os.access(folder, os.W_OK):
        return folder
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The defaults leave out what compiles in under a second, which is most of what an encoder needs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
