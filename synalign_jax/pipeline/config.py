"""The settings of a run, section by section: the types that a TOML file is checked against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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

    `source` is a file, a folder of shards, a pattern or a URL (docs/data.md), a named data set
    (rotten_tomatoes, reuters-r8, reuters-r52, 20newsgroups) or a hub name. `label = ""` says that the
    texts have no labels. `labels` keeps only these. `few_shot` rows are what the method may see. `test`
    names a file to evaluate on; without one, up to `test_rows` rows (a quarter of the source at most)
    are held out. Up to `ceiling_rows` of the rows left over serve as "all real rows" in the evaluation,
    and nowhere else.

    `text` may be a template over columns, as "{question} {answer}": then each new row has those fields, too.
    `fields` (name = description) tells the model what they are; without a template each is a line of the
    text.
    With `multi_label` a row may have several labels, and each combination of them counts as a label.
    `file_encoding` is that of text files that are not UTF-8.
    """

    source: str
    subset: str | None = None
    text: str = "text"
    fields: dict[str, str] = {}
    label: str = "label"
    multi_label: bool = False
    file_encoding: str | None = None
    labels: list[str] | None = None
    label_names: dict[str, str] = {}
    few_shot: Annotated[int, Meta(ge=10)] = 200
    test: str | None = None
    test_rows: Count = 1500
    ceiling_rows: Natural = 2500
    max_characters: Count = 20_000


class Encoder(_Section, frozen=True, kw_only=True):
    """`kind` "flax" loads a model's files, a network or static embeddings; "static" insists on the latter.
    "openai" asks `base_url` for embeddings; "sentence-transformers" loads any model of that library, with
    torch.

    `prompt` is the name of one of the model's prompts, or the words that go before every text ("query: ");
    left out, the model's default; "" for none. `truncate_dim` keeps only so many leading columns. `dtype`
    "bfloat16" halves the memory of a network and is meant for accelerators. `vectors` "float16" keeps a run's
    vectors in half as many bytes, where what is lost is far below the noise band.
    """

    kind: Literal["flax", "static", "openai", "sentence-transformers"] = "flax"
    model: str = "all-MiniLM-L6-v2"
    max_tokens: Count | None = None
    prompt: str | None = None
    truncate_dim: Count | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    vectors: Literal["float32", "float16"] = "float32"
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
    SmolLM2-135M-Instruct), of a model with or without chat training, from an embedded server.
    "huggingface" loads a causal LM in process, with torch.

    `headers` maps names of headers to the environment variables that hold their values. `extra` goes into
    every request as it is (`reasoning_effort`, `chat_template_kwargs`). `reasoning_tokens` are what an answer
    may take besides, for thoughts that it does not show; "auto" finds them out. `stream` "auto" streams long
    answers. `batch` puts requests into batches by OpenAI's Batch API: half the price, each within a day; a
    wave of rows is a batch. `attempt_timeout` and `total_timeout` are seconds for one attempt and for all of
    a request; a wait longer than the latter stops the run. "auto" is 180 and 900, and ten times as much for a
    model on this machine. `max_cost`, `max_requests` and `max_tokens_total` hold for a run as a whole.
    """

    kind: Literal["openai", "llamacpp", "huggingface"] = "openai"
    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    headers: dict[str, str] = {}
    proxy: str | None = None
    ca_file: str | None = None
    extra: dict[str, Any] = {}
    reasoning_tokens: Natural | Literal["auto"] = "auto"
    stream: Literal["auto", "on", "off"] | bool = "auto"
    batch: bool = False
    temperature: Annotated[float, Meta(ge=0, le=5)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    concurrency: Count = 16
    context: Count = 2048
    attempt_timeout: Positive | Literal["auto"] = "auto"
    total_timeout: Positive | Literal["auto"] = "auto"
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
    `llm` names the endpoint, a section [llms.NAME]; without it that is [llm].
    """

    llm: str | None = None
    preset: str = "generic"
    task: str | None = None
    attributes: dict[str, str] = {}
    template: str | None = None
    max_tokens: Count = 300


class Generate(_Section, frozen=True, kw_only=True):
    """`rows` new rows in all, shared among the labels as the real rows are.

    `waves` splits the asking: each learns from those before the last ([loop]); there are fewer where each
    would have less than eight calls, and two are in flight at once. `calls_factor` bounds the calls at that
    many times what the rows need when none is dropped. `max_row_characters` "auto" is what the real rows
    shown in a call suggest, and at most what all of them do. `template` is a Jinja file of your own; it sees
    `task`, `label`, `attributes`, `demonstrations` and `count`.
    `form` is how the model is asked: "json" in a chat, "list" as a text to go on with (small and base
    models); "auto" tries both in a few calls where need be. `of_the_kind` drops rows that echo the request
    or are unlike every real row in length, script, make-up or words.
    `llm` names the endpoint, a section [llms.NAME]; a table of names and shares has several write, each its
    share of the calls ("llm" is the name of [llm]).
    """

    llm: str | dict[str, Positive] | None = None
    form: Literal["auto", "json", "list"] = "auto"
    of_the_kind: bool = True
    rows: Count = 1000
    rows_per_call: Annotated[int, Meta(ge=1, le=50)] = 5
    max_row_characters: Annotated[int, Meta(ge=20)] | Literal["auto"] = "auto"
    show_demonstrations: bool = True
    waves: Count = 8
    calls_factor: Annotated[float, Meta(ge=1)] = 5.0
    template: str | None = None


class Loop(_Section, frozen=True, kw_only=True):
    """What generation learns between its waves, and when it stops before all rows are there.

    After each wave the rows are weighed. `demonstrations` come from where no weighted row stands for real
    text and no earlier demonstration was ("auto"; "witness" and "variance" heed one of the two alone, "off"
    is the order of exploration), `attributes` are drawn by the weight of the rows that they led to, and with
    `contrast` the prompt shows rows that weigh most and least. `stop` ends it when the held-out distance is
    inside the noise band of the real rows, `min_gain` when another wave is expected to take less than that
    share of the distance away, `min_loss_gain` less than that share of the loss of a student of the real rows
    and these.
    `same_meaning` is the cosine from which two rows mean the same: "auto" takes it from the real rows.
    """

    demonstrations: Literal["auto", "witness", "variance", "off"] | bool = "auto"
    attributes: bool = True
    contrast: bool = False
    stop: bool = True
    min_gain: Annotated[float, Meta(ge=0, le=1)] = 0.0
    min_loss_gain: Annotated[float, Meta(ge=0, le=1)] = 0.0
    same_meaning: Annotated[float, Meta(gt=0, le=1)] | Literal["auto", "off"] = "auto"


class Judge(_Section, frozen=True, kw_only=True):
    """Who checks the labels of new rows; each only if it is better than chance on the real rows.

    `student` is a classifier of the real rows; it fails a row for which another label is likelier, and its
    own less likely than those of all but the share `strictness` of the real rows. "auto" is 1 (whichever is
    likelier) for a student that is surely better than chance, and 0.15 for others. `llm` asks the model,
    `questions` rows a call, that of `[judge.endpoint]` (settings as in [llm]) or else the one that writes.
    `on_failure` "drop" drops a row that fails, "relabel" gives it the label that was found.
    """

    student: bool = True
    llm: bool = False
    strictness: Annotated[float, Meta(ge=0, le=1)] | Literal["auto"] = "auto"
    questions: Annotated[int, Meta(ge=1, le=50)] = 8
    on_failure: Literal["drop", "relabel"] = "drop"
    endpoint: Llm | None = None


class Rules(_Section, frozen=True, kw_only=True):
    """Your own rules for new rows; a row that breaks one is dropped and counted.

    `match` are regular expressions that every row must hold, `no_match` those that none may; `forbidden` are
    words or phrases, in any case. `function` is module:function, called with the text: True keeps the row,
    False (or a reason in words) drops it. `personal_data` "report" counts the rows in which presidio finds
    addresses and numbers of people, "drop" drops them; `personal_demonstrations` does the same to real rows
    before they are shown to the model, where "drop" leaves them out of what is shown.
    """

    min_characters: Count | None = None
    max_characters: Count | None = None
    match: list[str] = []
    no_match: list[str] = []
    forbidden: list[str] = []
    function: str | None = None
    personal_data: Literal["off", "report", "drop"] = "off"
    personal_demonstrations: Literal["off", "report", "drop"] = "off"


class Align(_Section, frozen=True, kw_only=True):
    """What the rows count for in training, and how near they are brought to the real ones.

    `weights` "student" are those with which a student of the real rows and these is expected to do best: they
    are 0 where the rows are not worth using. "distribution" are those of distribution matching alone. The
    other two are about the latter: both "auto" are chosen by cross-validation on the real rows; 0 and 0 are
    the paper's plain form. With a `regularization` that is given, `spectral_power` "auto" is 0.
    """

    weights: Literal["student", "distribution"] = "student"
    regularization: Annotated[float, Meta(ge=0)] | Literal["auto"] = "auto"
    spectral_power: Annotated[float, Meta(ge=0)] | Literal["auto"] = "auto"


class Resample(_Section, frozen=True, kw_only=True):
    """`rows` of the aligned set; "auto" is what the weights count for together, at most the rows they are
    worth (their effective sample size). Both sets are written as JSONL and Parquet, and in `formats` besides.
    """

    rows: Count | Literal["auto"] = "auto"
    labels: Literal["real", "balanced"] = "real"
    formats: list[Literal["csv", "tsv"]] = []


class Evaluate(_Section, frozen=True, kw_only=True):
    """`seeds` independent repetitions of every student."""

    seeds: Annotated[int, Meta(ge=2)] = 10


class Report(_Section, frozen=True, kw_only=True):
    title: str = "Synthetic data, aligned"
    rows: Count = 200


class Config(_Section, frozen=True, kw_only=True):
    """Every section but run, data and llm may be left out. `llms` holds further endpoints by name."""

    run: Run
    data: Data
    llm: Llm
    llms: dict[str, Llm] = {}
    encoder: Encoder = Encoder()
    explore: Explore = Explore()
    reason: Reason = Reason()
    generate: Generate = Generate()
    loop: Loop = Loop()
    judge: Judge = Judge()
    rules: Rules = Rules()
    align: Align = Align()
    resample: Resample = Resample()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()


def endpoints_of(config: Config) -> list[Llm]:
    """The settings of all endpoints, [llm] first."""
    judge = config.judge.endpoint
    return [config.llm, *config.llms.values(), *([judge] if judge is not None else [])]


def model_name(llm: Llm) -> str:
    """What rows, reports and cards call the model: never a path on this machine."""
    here = llm.kind == "llamacpp" and llm.model.endswith(".gguf")
    return Path(llm.model).stem if here else llm.model


def caps_of(config: Config) -> dict[str, Any]:
    """The caps of [llm], which hold for a run as a whole, by their settings."""
    return {name: getattr(config.llm, name) for name in ("max_cost", "max_requests", "max_tokens_total")}
