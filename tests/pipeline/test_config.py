import re
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from synalign_jax.pipeline.asking.ask import limits
from synalign_jax.pipeline.config import ConfigError, Llm, model_name
from synalign_jax.pipeline.config_file import load_config, parse_config
from synalign_jax.pipeline.outcome import differences, outcome_settings

MINIMAL = {
    "run": {"folder": "out"},
    "data": {"source": "rows.csv"},
    "llm": {"base_url": "http://127.0.0.1:8000/v1", "model": "m"},
}
PRICES = {"prompt": 1.0, "completion": 2.0}
ENDPOINT = {"base_url": "http://127.0.0.1:8001/v1", "model": "n"}


def _with(section: str, **values: object) -> dict:
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), **values}}


def test_three_sections_are_enough() -> None:
    config = parse_config(MINIMAL)
    assert (config.data.few_shot, config.explore.neighbors, config.align.regularization) == (200, 3, "auto")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({**MINIMAL, "dat": {}}, "unknown section [dat]; did you mean 'data'?"),
        (_with("data", few_shots=1), "unknown setting 'few_shots' in [data]; did you mean 'few_shot'?"),
        (_with("data", few_shot="many"), "setting 'data.few_shot': Expected `int`, got `str`"),
        (_with("data", few_shot=5), "setting 'data.few_shot': Expected `int` >= 10"),
        (_with("align", regularization=-1.0), "setting 'align.regularization'"),
        ({k: v for k, v in MINIMAL.items() if k != "llm"}, "the setting 'llm' is missing"),
        (_with("llm", base_url=None), "[llm] base_url is missing"),
        (_with("llm", base_url="localhost:8000/v1"), "needs to begin with http:// or https://"),
        (_with("llm", base_url="http://user:secret@host/v1"), "base_url holds a user or password"),
        (_with("llm", max_cost=1.0), "max_cost needs [llm.prices]"),
        (
            _with("llm", max_cost=1.0, prices=PRICES)
            | {"llms": {"b": ENDPOINT | {"prices": PRICES}, "c": ENDPOINT}},
            "max_cost needs [llms.c.prices]",
        ),
        (
            _with("llm", max_cost=1.0, prices=PRICES) | {"judge": {"endpoint": ENDPOINT}},
            "max_cost needs [judge.endpoint.prices]",
        ),
        (
            {**MINIMAL, "llms": {"b": ENDPOINT | {"max_requests": 5}}},
            "[llms.b] max_requests: caps hold for a run",
        ),
        ({**MINIMAL, "judge": {"endpoint": {"model": "j"}}}, "[judge.endpoint] base_url is missing"),
    ],
)
def test_a_bad_setting_is_named_with_its_mend(raw: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config(raw)


def test_a_cap_on_money_is_taken_where_every_endpoint_has_prices() -> None:
    priced = ENDPOINT | {"prices": PRICES}
    config = parse_config(
        _with("llm", max_cost=1.0, prices=PRICES) | {"llms": {"b": priced}, "judge": {"endpoint": priced}}
    )
    assert config.llm.max_cost == 1.0


def test_how_to_reach_the_judge_is_no_other_outcome_but_its_model_is() -> None:
    def outcome(**judge: object) -> dict:
        raw = {**MINIMAL, "judge": {"endpoint": ENDPOINT | judge}}
        return outcome_settings(msgspec.to_builtins(parse_config(raw)))

    assert outcome() == outcome(concurrency=3, prices=PRICES, api_key_env="ANOTHER")
    assert outcome() != outcome(model="o")


def test_paths_count_from_the_file_and_names_stay_names(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\na\n")
    (tmp_path / "run.toml").write_text(
        '[run]\nfolder = "out"\n[data]\nsource = "rows.csv"\n'
        '[llm]\nkind = "llamacpp"\nmodel = "SmolLM2-135M-Instruct"\n'
    )
    config = load_config(tmp_path / "run.toml")
    assert config.run.folder == str(tmp_path / "out")
    assert config.data.source == str(tmp_path / "rows.csv")
    assert config.llm.model == "SmolLM2-135M-Instruct"
    named = parse_config(_with("data", source="rotten_tomatoes"), base=tmp_path)
    assert named.data.source == "rotten_tomatoes"
    hub = parse_config(_with("data", source="stanfordnlp/sst2"), base=tmp_path)
    assert hub.data.source == "stanfordnlp/sst2"


@pytest.mark.parametrize("content", [b"[run\n", b"\xff\xfe", b""])
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml"):
        load_config(tmp_path / "run.toml")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; 'synalign demo --save"):
        load_config(tmp_path / "none.toml")


def test_only_settings_that_change_the_outcome_count_as_a_difference() -> None:

    def settings(**llm: object) -> dict:
        return outcome_settings(msgspec.to_builtins(parse_config(_with("llm", **llm))))

    assert differences(settings(), settings(concurrency=3, max_requests=9, api_key_env="KEY")) == []
    assert differences(settings(), settings(model="other", temperature=0.5)) == [
        "llm.model: 'm' -> 'other'",
        "llm.temperature: 1.0 -> 0.5",
    ]


def test_the_shipped_configs_are_valid() -> None:
    folder = Path(str(resources.files("synalign_jax").joinpath("configs")))
    files = [*folder.glob("*.toml"), *(Path(__file__).parents[2] / "examples").glob("*.toml")]
    assert len(files) >= 2
    for file in files:
        load_config(file)


def test_a_model_on_this_machine_gets_time_and_no_path_of_it_is_told() -> None:
    here = Llm(kind="llamacpp", model="/home/somebody/models/gemma-3-270m.gguf")
    there = Llm(base_url="http://127.0.0.1:1/v1", model="org/name.gguf")
    assert (limits(here).attempt_timeout, limits(there).attempt_timeout) == (1800, 180)
    assert (limits(here).total_timeout, limits(there).total_timeout) == (9000, 900)
    assert limits(Llm(kind="llamacpp", model="m", attempt_timeout=5.0)).attempt_timeout == 5
    assert (model_name(here), model_name(there)) == ("gemma-3-270m", "org/name.gguf")
