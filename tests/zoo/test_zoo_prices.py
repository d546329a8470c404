"""What several endpoints cost, each at its own prices: before anything is sent, and after a look."""

import json
from pathlib import Path

import pytest
from test_zoo_run import CONFIG, caged, place  # noqa: F401 - `place` is a fixture
from zoo import Visit, good

import synalign_jax as sa
from synalign_jax.api.result import RunResult
from synalign_jax.cli import main
from synalign_jax.pipeline.config_file import load_config

PRICED = "prices = {prompt = 1.0, completion = 2.0}\nmax_cost = 1.0"
MORE = """llm = {{llm = 2, second = 1}}
[llms.second]
base_url = "{address}"
model = "other"
prices = {{prompt = 10.0, completion = 20.0}}
"""
READ, WRITTEN = 40, 20  # tokens that the zoo counts for every answer


def cost(first: int, second: int) -> float:
    """Of so many answers of the two."""
    return (first + 10 * second) * (READ + 2 * WRITTEN) / 1e6


def test_a_dry_run_and_a_preview_count_each_endpoint_at_its_own_prices(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    def other(visit: Visit):
        reply = good(visit)
        reply.body["model"] = "other"
        return reply

    with caged(good) as (address, cage), caged(other) as (second, other_cage):
        more = MORE.format(address=second)
        values = {
            "folder": "priced",
            "address": address,
            "llm": PRICED,
            "generate": more,
            "preset": "sst2",
            "form": "json",
        }
        path = place / "priced.toml"
        path.write_text(CONFIG.format(**values))
        assert main(["run", str(path), "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert not cage.state.bodies
        assert not other_cage.state.bodies
        prompts = (place / "priced" / "prompts.jsonl").read_text(encoding="utf-8")
        asked = [json.loads(line)["model"] for line in prompts.splitlines()]
        assert asked.count("other") * 2 in range(asked.count("beast") + 1)
        assert f"[llm] beast: {asked.count('beast')} requests, cost " in said
        assert f"[llms.second] other: {asked.count('other')} requests, cost " in said

        seen = sa.preview(path, rows=12, progress=False)
        calls = len(cage.state.bodies), len(other_cage.state.bodies)
        assert min(calls) > 0
        assert seen.money == pytest.approx(cost(*calls))
        whole = dict(seen.whole.parts)
        ratio = [
            whole[name].cost.high / whole[name].requests for name in ("[llm] beast", "[llms.second] other")
        ]
        assert ratio[1] == pytest.approx(10 * ratio[0], rel=0.3)

        assert RunResult.of(load_config(path)).cost.money == pytest.approx(cost(*calls))
