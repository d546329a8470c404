"""`synalign run` with `[llm] batch = true`: waves are batches, stopped and continued, at half the price."""

import re
from pathlib import Path

import pytest
from stub_batches import BatchServer, Course, served
from test_zoo_run import CONFIG, place, rows  # noqa: F401 - `place` is a fixture
from zoo import Reply

import synalign_jax as sa
from synalign_jax.cli import main
from synalign_jax.llm.batches.limits import Batching
from synalign_jax.pipeline.asking import ask

PRICES = "prices = {prompt = 1.0, completion = 2.0}\nmax_cost = 1.0"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "BATCHING", Batching(gather=0.1, first_look=0.02, longest_look=0.05, again=0.1))


def config(place: Path, name: str, address: str, llm: str) -> Path:  # noqa: F811
    path = place / f"{name}.toml"
    values = {
        "folder": name,
        "address": address,
        "llm": llm,
        "generate": "waves = 2",
        "preset": "sst2",
        "form": "json",
    }
    path.write_text(CONFIG.format(**values))
    return path


def cost_in(printed: str) -> float:
    found = re.search(r"^cost +\S+ to ([\d.e-]+)", printed, re.MULTILINE)
    assert found
    return float(found[1])


def test_a_run_in_batches_stops_and_goes_on_and_its_price_is_half(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = [True]
    server = BatchServer(
        course=lambda number: Course("expired", asked=2) if number == 2 else Course(),
        fault=lambda call, times: Reply(502, b"away") if call == "look" and away[0] and times > 9 else None,
    )
    with served(server) as address:
        assert main(["run", str(config(place, "alone", address, PRICES)), "--dry-run"]) == 0
        whole = cost_in(capsys.readouterr().out)
        path = config(place, "batched", address, f"batch = true\ntotal_timeout = 0.3\n{PRICES}")
        assert main(["run", str(path), "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert cost_in(said) == pytest.approx(whole / 2, rel=1e-3)
        assert "in batches at half its price" in said
        assert not server.calls

        assert main(["run", str(path)]) == 1
        assert "cannot be reached" in capsys.readouterr().err
        assert main(["status", str(place / "batched")]) == 0
        assert re.search(r"batch +batch_\d \(.*of \d+ done", capsys.readouterr().out)
        away[0] = False
        assert main(["run", str(path)]) == 0
        made = rows(place, "batched")
        assert len(made) > 9  # of 12: some may be too much alike
        assert all("tale of" in row["text"] for row in made)
        assert not server.asked_alone
        assert set(server.paid.values()) == {1}
        assert main(["status", str(place / "batched")]) == 0
        status = capsys.readouterr().out
        assert "batch_" not in status
        answered = sum(server.paid.values())
        assert f"{answered} answered, 0 given up" in status
        found = re.search(r"cost ([\d.e-]+)$", status, re.MULTILINE)
        assert found
        assert float(found[1]) == pytest.approx(answered * (40 + 2 * 20) / 2 / 1e6)


def test_a_preview_asks_one_by_one_and_the_run_does_not_pay_again(place: Path) -> None:  # noqa: F811
    with served(server := BatchServer()) as address:
        path = config(place, "looked_at", address, f"batch = true\n{PRICES}")
        seen = sa.preview(path, rows=6, progress=False)
        assert seen.whole.batched
        assert server.asked_alone
        assert not server.batches
        assert main(["run", str(path)]) == 0
    assert server.batches
    assert set(server.paid.values()) == {1}


def test_no_batch_api_is_a_sentence_with_its_mend(
    place: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served(BatchServer(fault=lambda call, times: Reply(404, {"detail": "Not Found"}))) as address:
        assert main(["run", str(config(place, "none", address, "batch = true"))]) == 1
    said = capsys.readouterr().err
    assert "has no batch API" in said
    assert "batch = false" in said
    embedded = config(place, "embedded", "http://127.0.0.1:1/v1", 'batch = true\nkind = "llamacpp"')
    assert main(["run", str(embedded)]) == 1
    assert "only an endpoint of kind" in capsys.readouterr().err
