"""The settings of a run, however they are given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from synalign_jax.pipeline.config import Config, ConfigError
from synalign_jax.pipeline.config_file import load_config, parse_config
from synalign_jax.pipeline.folder import open_finished


def config_of(config: str | os.PathLike[str] | Mapping[str, Any] | Config) -> Config:
    """Checked settings from a TOML file, a run's folder, a dictionary of sections or a `Config`.

    Relative paths count from the file's folder, or from the working directory.

    Raises:
        ConfigError: no such file, an unknown or missing setting, a value of the wrong kind.
        RunFolderError: a folder that holds no run.
    """
    if isinstance(config, Config):
        # Made in Python, its values have not been checked yet.
        return parse_config(msgspec.to_builtins(config), base=Path.cwd())
    if isinstance(config, Mapping):
        return parse_config(_plain(config), base=Path.cwd())
    if not isinstance(config, str | os.PathLike):
        raise ConfigError(
            f"config: a {type(config).__name__}; give the path of a TOML file, a dictionary or a Config"
        )
    path = Path(config)
    return open_finished(path) if path.is_dir() else load_config(path)


def _plain(values: Mapping[Any, Any], place: str = "") -> dict[str, Any]:
    """Nested dictionaries with text for keys, paths as text."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise ConfigError(f"config: {name!r} is not the name of a {'setting' if place else 'section'}")
        if isinstance(value, Mapping):
            value = _plain(value, f"{place}{name}.")
        plain[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return plain
