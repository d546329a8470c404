"""Behaviours of the zoo through a run: rows are made, and another start asks nothing again."""

import asyncio
import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import coats  # noqa: F401 - they fill the zoo
import moods
import natives  # noqa: F401
import options  # noqa: F401
import pyarrow.parquet as pq
import pytest
from zoo import SOUND, Behaviour, Cage, Visit, completion, good

from synalign_jax.api import wiring
from synalign_jax.api.settings import config_of
from synalign_jax.cli import main
from synalign_jax.pipeline.folder import RunFolder
from synalign_jax.pipeline.run import STAGES, run_stages

CONFIG = """
[run]
folder = "{folder}"
[data]
source = "rotten_tomatoes"
few_shot = 12
test_rows = 12
ceiling_rows = 0
[llm]
base_url = "{address}"
model = "beast"
concurrency = 4
{llm}
[explore]
rounds = 2
neighbors = 1
[reason]
preset = "{preset}"
[generate]
rows = 12
rows_per_call = 3
form = "{form}"
of_the_kind = false
{generate}
[evaluate]
seeds = 2
"""
# One of each kind that reaches beyond the adapter: options, coats, reasoning, lengths, usage, waits.
CHOSEN = (
    "takes_hardly_anything",
    "ignores_lengths",
    "thinks_aloud_with_a_draft",
    "spends_its_tokens_on_reasoning",
    "is_odd_in_several_ways",
    "loads_its_model",
)


@contextmanager
def caged(behaviour: Behaviour) -> Iterator[tuple[str, Cage]]:
    """The server in a thread of its own: the command brings its own loop."""
    loop, cage = asyncio.new_event_loop(), Cage(behaviour)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(work) -> str:
        return asyncio.run_coroutine_threadsafe(work, loop).result(100)

    try:
        yield do(cage.__aenter__()), cage
    finally:
        do(cage.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNALIGN_CACHE", str(folder / "cache"))
        patch.setattr(wiring, "open_embedder", functools.cache(wiring.open_embedder))  # loaded once for all
        yield folder


def written(
    place: Path,
    name: str,
    address: str,
    *,
    llm: str = "",
    generate: str = "",
    preset: str = "sst2",
    form: str = "json",
) -> Path:
    path = place / f"{name}.toml"
    values = {"folder": name, "address": address, "llm": llm, "generate": generate, "preset": preset}
    path.write_text(CONFIG.format(**values, form=form))
    return path


def run(place: Path, name: str, address: str, **settings: str) -> int:
    return main(["run", str(written(place, name, address, **settings))])


def make_rows(place: Path, name: str, address: str, **settings: str) -> None:
    """As `run`, up to the stage that makes the rows: those after it do not ask the server."""
    config = config_of(written(place, name, address, **settings))
    last = [stage.name for stage in STAGES].index("generate")
    with RunFolder(config) as folder:
        run_stages(folder, wiring.tools_for(config), STAGES[: last + 1])


def rows(place: Path, name: str) -> list[dict]:
    return pq.read_table(place / name / "synthetic.parquet").to_pylist()


@pytest.mark.parametrize("name", CHOSEN)
def test_a_run_ends_with_its_rows_whatever_the_server_is_like(name: str, place: Path) -> None:
    with caged(SOUND[name]) as (address, cage):
        make_rows(place, name, address, llm="top_p = 0.9")
        made = rows(place, name)
        assert len(made) == 12
        assert all("tale of" in row["text"] for row in made)
        assert {row["model"] for row in made} == {"beast"}
        asked = len(cage.state.bodies)
        (place / name / "done" / "generate.json").unlink()
        (place / name / "done" / "reason.json").unlink()
        make_rows(place, name, address, llm="top_p = 0.9")
        assert len(cage.state.bodies) == asked
        assert [row["text"] for row in rows(place, name)] == [row["text"] for row in made]


def test_a_flagged_prompt_costs_its_rows_alone(place: Path) -> None:
    def behave(visit: Visit):
        rows = "texts" in json.dumps(visit.body.get("response_format", {}))
        return moods.flags_one_prompt(visit) if rows else good(visit)

    with caged(behave) as (address, _):
        make_rows(place, "flagged", address)
    assert len(rows(place, "flagged")) == 12


def test_several_models_share_the_rows_as_stated(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def other(visit: Visit):
        reply = good(visit)
        reply.body["model"] = "other"
        return reply

    with caged(good) as (address, cage), caged(other) as (second, other_cage):
        more = f'llm = {{llm = 2, second = 1}}\n[llms.second]\nbase_url = "{second}"\nmodel = "other"'
        assert run(place, "several", address, generate=more) == 0
        made = [row["model"] for row in rows(place, "several")]
        calls = [
            sum("texts" in str(body.get("response_format")) for body in c.state.bodies)
            for c in (cage, other_cage)
        ]
        assert set(made) == {"beast", "other"}
        assert abs(calls[0] - 2 * calls[1]) <= 2
        weighted = pq.read_table(place / "several" / "weighted.parquet").to_pylist()
        weights = [row["weight"] for row in weighted]
        if not any(weights):
            weights = [row["distribution"] for row in weighted]
        printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
        report = (place / "several" / "report.html").read_text(encoding="utf-8").partition("By model")[2]
        for model in ("beast", "other"):
            share = sum(w for w, m in zip(weights, made, strict=True) if m == model) / sum(weights)
            assert printed[model][0] == str(made.count(model))
            assert float(printed[model][2].rstrip("%")) == pytest.approx(100 * share, abs=0.06)
            assert f'<bdi>{model}</bdi></th><td data-name="Rows">{made.count(model)}</td>' in report
        asked = len(cage.state.bodies) + len(other_cage.state.bodies)
        (place / "several" / "done" / "generate.json").unlink()
        assert run(place, "several", address, generate=more) == 0
        assert len(cage.state.bodies) + len(other_cage.state.bodies) == asked
        assert [row["model"] for row in rows(place, "several")] == made


def test_headers_and_extra_reach_the_server(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_KEY", "right")
    llm = 'headers = {"api-key" = "ZOO_KEY"}\nextra = {reasoning_effort = "low"}\nstream = "off"'
    with caged(moods.wants_the_key_elsewhere) as (address, cage):
        assert run(place, "headers", address, llm=llm) == 0
    assert {body.get("reasoning_effort") for body in cage.state.bodies} == {"low"}
    monkeypatch.delenv("ZOO_KEY")
    assert run(place, "unset", address, llm=llm) == 1


def test_a_model_that_only_thinks_is_named_for_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def thinks(visit: Visit):
        return moods.Reply(body=completion("", finish="length"))

    with caged(thinks) as (address, cage):
        assert run(place, "thinks", address, llm="reasoning_tokens = 500") == 1
    said = capsys.readouterr().err
    assert "the model spends its tokens on reasoning" in said
    assert "raise reasoning_tokens" in said
    assert len(cage.state.bodies) <= 5


def test_an_endpoint_that_knows_chats_alone_is_asked_once_for_more(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows as JSON are poor, so the other form is tried."""

    def behave(visit: Visit) -> moods.Reply:
        if not visit.path.endswith("/chat/completions"):
            return moods.Reply(404, {"detail": "Not Found"})
        reply = good(visit)
        if "texts" in json.dumps(visit.body.get("response_format", {})):
            kept = json.loads(reply.body["choices"][0]["message"]["content"])["texts"]
            echoes = ["{name}", "{name}", *kept[2:]]
            reply.body["choices"][0]["message"]["content"] = json.dumps({"texts": echoes})
        return reply

    with caged(behave) as (address, cage):
        make_rows(place, "chats", address, form="auto")
    assert "it has no /completions: it knows chats alone" in capsys.readouterr().err
    assert sum("messages" not in body for body in cage.state.bodies) == 1
