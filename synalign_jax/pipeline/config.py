"""The settings of a run: one TOML file, checked against these types before anything starts."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it and the mend."""


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Run(_Section, frozen=True, kw_only=True):
    """`folder` holds everything of the run; `seed` fixes every random choice of ours."""

    folder: str
    seed: Natural = 0


class Data(_Section, frozen=True, kw_only=True):
    """The real rows.

    `source` is a file (JSONL, CSV, TSV, Parquet), a named data set (rotten_tomatoes, reuters-r8, reuters-r52,
    20newsgroups) or a hub name. `label = ""` says that the texts have no labels. `labels` keeps only these.
    `few_shot` rows are what the method may see. `test` names a file to evaluate on; without one, up to
    `test_rows` rows (a quarter of the source at most) are held out. Up to `ceiling_rows` of the rows left
    over serve as "all real rows" in the evaluation, and nowhere else.
    """

    source: str
    subset: str | None = None
    text: str = "text"
    label: str = "label"
    labels: list[str] | None = None
    label_names: dict[str, str] = {}
    few_shot: Annotated[int, Meta(ge=10)] = 200
    test: str | None = None
    test_rows: Count = 1500
    ceiling_rows: Natural = 2500
    max_characters: Count = 20_000


class Encoder(_Section, frozen=True, kw_only=True):
    """`kind` "flax" loads a BERT-family encoder; "openai" asks `base_url` for embeddings;
    "sentence-transformers" loads any model of that library, with torch.
    """

    kind: Literal["flax", "openai", "sentence-transformers"] = "flax"
    model: str = "all-MiniLM-L6-v2"
    max_tokens: Count | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None


class Explore(_Section, frozen=True, kw_only=True):
    """`rounds` demonstration clusters for every label, each of a centre and its `neighbors`."""

    rounds: Count = 8
    neighbors: Natural = 3
    acquisition: Literal["auto", "max_variance", "integrated_variance", "rim_variance"] = "auto"
    project: int | Literal["auto", "none"] = "auto"


class Prices(_Section, frozen=True, kw_only=True):
    """Money for a million tokens, in whatever currency `max_cost` is in."""

    prompt: Annotated[float, Meta(ge=0)]
    completion: Annotated[float, Meta(ge=0)]


class Llm(_Section, frozen=True, kw_only=True):
    """The endpoint that reasons and writes.

    `kind` "openai" is any OpenAI-compatible server at `base_url`; its key is read from the environment
    variable that `api_key_env` names. "llamacpp" serves the GGUF file `model` (a path, or
    SmolLM2-135M-Instruct) from an embedded server. "huggingface" loads a causal LM in process, with
    torch.
    """

    kind: Literal["openai", "llamacpp", "huggingface"] = "openai"
    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    concurrency: Count = 16
    context: Count = 2048
    attempt_timeout: Positive = 180.0
    max_attempts: Count = 6
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    prices: Prices | None = None
    max_cost: Positive | None = None
    max_requests: Count | None = None
    max_tokens_total: Count | None = None


class Reason(_Section, frozen=True, kw_only=True):
    """How demonstrations become attributes.

    `preset` is sst2, agnews, amazon or generic (which asks the LLM for the attributes that matter).
    `task` tells the LLM what the texts are; `attributes` (name = question) replaces the preset's.
    `template` is a Jinja file of your own; it sees `task`, `label`, `demonstrations` and `attributes`.
    """

    preset: str = "generic"
    task: str | None = None
    attributes: dict[str, str] = {}
    template: str | None = None
    max_tokens: Count = 300


class Generate(_Section, frozen=True, kw_only=True):
    """`rows` new rows in all, shared among the labels as the real rows are.

    `waves` splits the asking: each wave begins where the rows of earlier ones are not. `calls_factor`
    bounds the calls at that many times what the rows need when none is dropped. `template` is a Jinja file
    of your own; it sees `task`, `label`, `attributes`, `demonstrations` and `count`.
    """

    rows: Count = 1000
    rows_per_call: Annotated[int, Meta(ge=1, le=50)] = 5
    max_row_characters: Annotated[int, Meta(ge=20)] | Literal["auto"] = "auto"
    show_demonstrations: bool = True
    waves: Count = 2
    calls_factor: Annotated[float, Meta(ge=1)] = 3.0
    template: str | None = None


class Align(_Section, frozen=True, kw_only=True):
    """Both "auto" are chosen by cross-validation on the real rows; 0 and 0 are the paper's plain form.

    With a `regularization` that is given, `spectral_power` "auto" is 0.
    """

    regularization: Annotated[float, Meta(ge=0)] | Literal["auto"] = "auto"
    spectral_power: Annotated[float, Meta(ge=0)] | Literal["auto"] = "auto"


class Resample(_Section, frozen=True, kw_only=True):
    """`rows` of the aligned set; "auto" is the effective sample size of the weights."""

    rows: Count | Literal["auto"] = "auto"
    labels: Literal["real", "balanced"] = "real"


class Evaluate(_Section, frozen=True, kw_only=True):
    """`seeds` independent repetitions of every student."""

    seeds: Annotated[int, Meta(ge=2)] = 10


class Report(_Section, frozen=True, kw_only=True):
    title: str = "Synthetic data, aligned"
    rows: Count = 200


class Config(_Section, frozen=True, kw_only=True):
    """Every section but run, data and llm may be left out."""

    run: Run
    data: Data
    llm: Llm
    encoder: Encoder = Encoder()
    explore: Explore = Explore()
    reason: Reason = Reason()
    generate: Generate = Generate()
    align: Align = Align()
    resample: Resample = Resample()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()


# Settings that say how to go about a run and not what comes out of it: they may change between two starts.
OPERATIONAL = {
    "llm": {
        "api_key_env", "api_key_file", "proxy", "ca_file", "concurrency", "attempt_timeout", "max_attempts",
        "requests_per_minute", "tokens_per_minute", "prices", "max_cost", "max_requests", "max_tokens_total",
    },
    "encoder": {"api_key_env", "api_key_file"},
    "run": {"folder"},
}  # fmt: skip


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
        known = [field.name for field in msgspec.structs.fields(sections[section])]
        for key in values if isinstance(values, dict) else ():
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
        if value is None:
            return None
        path = Path(value).expanduser()
        return str(path) if path.is_absolute() else str((base / path).resolve())

    def if_file(value: str) -> str:
        """Names (a data set, a model) stay names; what lies beside the config file is a path."""
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
        llm=config.llm
        if config.llm.kind == "openai"
        else replace(config.llm, model=_model_path(config.llm.model, base)),
        reason=replace(config.reason, template=anchor(config.reason.template)),
        generate=replace(config.generate, template=anchor(config.generate.template)),
    )


def _model_path(model: str, base: Path) -> str:
    path = Path(model).expanduser()
    beside = path if path.is_absolute() else base / path
    return str(beside.resolve()) if beside.exists() else model


def _check_sense(config: Config, name: str) -> None:
    for section, settings in (("llm", config.llm), ("encoder", config.encoder)):
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
    if config.llm.max_cost is not None and config.llm.prices is None:
        raise ConfigError(f"{name}: [llm] max_cost needs [llm.prices]: without prices nothing has a cost")


def outcome_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the plain settings that determine what comes out."""
    return {
        section: {key: value for key, value in values.items() if key not in OPERATIONAL.get(section, ())}
        for section, values in settings.items()
    }


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """One line for every setting that differs: "section.name: old -> new"."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines
