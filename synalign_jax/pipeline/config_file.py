"""Settings from a TOML file or a dictionary, checked before anything starts."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from .config import Config, ConfigError, Data, Encoder, Llm
from .data.columns import Template
from .data.fields import template_of


def load_config(path: str | Path) -> Config:
    """Read and check a TOML file. Relative paths inside it are taken from the file's own folder.

    Raises:
        ConfigError: no such file, not TOML, an unknown or missing setting, a value of the wrong kind.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; 'synalign demo --save {path}' writes one to start from"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error
    return parse_config(raw, name=str(path), base=path.parent)


def parse_config(raw: dict[str, Any], *, name: str = "config", base: Path | None = None) -> Config:
    """Check settings that are already a dictionary. Raises ConfigError as `load_config` does."""
    _check_names(raw, name)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explained(str(error))}") from error
    if base is not None:
        config = _anchored(config, base)
    _check_sense(config, name)
    return config


def _check_names(raw: dict[str, Any], name: str) -> None:
    sections = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for section, values in raw.items():
        if section not in sections:
            raise ConfigError(f"{name}: unknown section [{section}]{_nearest(section, sections)}")
        if not isinstance(values, dict):
            continue
        if section == "llms":
            for one, inner in values.items():
                _check_keys(inner if isinstance(inner, dict) else {}, Llm, f"llms.{one}", name)
        else:
            _check_keys(values, sections[section], section, name)


def _check_keys(values: dict[str, Any], kind: Any, section: str, name: str) -> None:
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{name}: unknown setting '{key}' in [{section}]{_nearest(key, known)}")


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"


def _explained(message: str) -> str:
    place = re.search(r" - at `\$\.?([^`]*)`", message)
    text = message[: place.start()] if place else message
    missing = re.search(r"missing required field `(\w+)`", text)
    if missing:
        inside = f" in [{place.group(1)}]" if place and place.group(1) else ""
        return f"the setting '{missing.group(1)}' is missing{inside}"
    return f"setting '{place.group(1)}': {text}" if place else text


def _anchored(config: Config, base: Path) -> Config:
    def anchor(value: str | None) -> str | None:
        if value is None or "://" in value:
            return value
        path = Path(value).expanduser()
        return str(path) if path.is_absolute() else str((base / path).resolve())

    def if_file(value: str) -> str:
        """Names (a data set, a model) and URLs stay; what lies beside the config file is a path."""
        if "://" in value:
            return value
        anchored = anchor(value)
        looks = value.startswith(("./", "../", "~", "/")) or "." in Path(value).name
        return anchored if anchored and (looks or Path(anchored).exists()) else value

    replace = msgspec.structs.replace
    return replace(
        config,
        run=replace(config.run, folder=anchor(config.run.folder)),
        data=replace(config.data, source=if_file(config.data.source), test=anchor(config.data.test)),
        encoder=config.encoder
        if config.encoder.kind == "openai"
        else replace(config.encoder, model=_model_path(config.encoder.model, base)),
        llm=_llm_anchored(config.llm, base),
        llms={name: _llm_anchored(llm, base) for name, llm in config.llms.items()},
        judge=config.judge
        if config.judge.endpoint is None
        else replace(config.judge, endpoint=_llm_anchored(config.judge.endpoint, base)),
        reason=replace(config.reason, template=anchor(config.reason.template)),
        generate=replace(config.generate, template=anchor(config.generate.template)),
    )


def _check_fields(data: Data, name: str) -> None:
    known = Template(template_of(data.text, data.fields)).fields
    for field in data.fields:
        if field.rstrip("?") not in known:
            raise ConfigError(
                f"{name}: [data.fields] '{field}' is not in [data] text = {data.text!r};"
                f" put {{{field}}} where it belongs in it"
            )


def _llm_anchored(llm: Llm, base: Path) -> Llm:
    return llm if llm.kind == "openai" else msgspec.structs.replace(llm, model=_model_path(llm.model, base))


def _model_path(model: str, base: Path) -> str:
    path = Path(model).expanduser()
    beside = path if path.is_absolute() else base / path
    return str(beside.resolve()) if beside.exists() else model


def encoder_faults(encoder: Encoder) -> str | None:
    """What a kind of encoder cannot do of what is asked, in words; None where nothing is."""
    if encoder.kind == "openai":
        for name in ("max_tokens", "truncate_dim"):
            if getattr(encoder, name) is not None:
                return f"{name}: kind openai leaves that to the endpoint; leave it out"
    if encoder.dtype != "float32" and encoder.kind != "flax":
        return f"dtype: {encoder.dtype} is for kind flax"
    return None


def _check_sense(config: Config, name: str) -> None:
    _check_fields(config.data, name)
    if "://" in config.run.folder:
        raise ConfigError(
            f"{name}: [run] folder '{config.run.folder}': a run lives on this machine;"
            " afterwards 'synalign push FOLDER --local URL' brings its rows there"
        )
    named = {f"llms.{key}": llm for key, llm in config.llms.items()}
    if config.judge.endpoint is not None:
        named["judge.endpoint"] = config.judge.endpoint
    for section, settings in {"llm": config.llm, "encoder": config.encoder, **named}.items():
        if settings.kind == "openai":
            if not settings.base_url:
                raise ConfigError(
                    f'{name}: [{section}] base_url is missing, for example "http://localhost:8000/v1"'
                )
            if not re.match(r"https?://[^/\s]", settings.base_url):
                raise ConfigError(
                    f"{name}: [{section}] base_url '{settings.base_url}' needs to begin with http:// or https://"
                )
            if "@" in settings.base_url:
                raise ConfigError(
                    f"{name}: [{section}] base_url holds a user or password; use api_key_env or api_key_file"
                )
    if wrong := encoder_faults(config.encoder):
        raise ConfigError(f"{name}: [encoder] {wrong}")
    for section, llm in {"llm": config.llm, **named}.items():
        if llm.batch and llm.kind != "openai":
            raise ConfigError(
                f'{name}: [{section}] batch: only an endpoint of kind "openai" takes batches; leave it out'
            )
        if config.llm.max_cost is not None and llm.prices is None:
            raise ConfigError(
                f"{name}: [llm] max_cost needs [{section}.prices]: without prices nothing has a cost"
            )
    for section, llm in named.items():
        for cap in ("max_cost", "max_requests", "max_tokens_total"):
            if getattr(llm, cap) is not None:
                raise ConfigError(
                    f"{name}: [{section}] {cap}: caps hold for a run as a whole; set it in [llm]"
                )
    if "llm" in config.llms:
        raise ConfigError(f"{name}: [llms.llm]: that name means the section [llm]; take another")
    for section, chosen in (("reason", config.reason.llm), ("generate", config.generate.llm)):
        for one in [chosen] if isinstance(chosen, str) else chosen or ():
            if one != "llm" and one not in config.llms:
                known = ", ".join(["llm", *config.llms])
                raise ConfigError(f"{name}: [{section}] llm: no section [llms.{one}]; known are {known}")
