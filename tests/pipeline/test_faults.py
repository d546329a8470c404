"""What goes wrong from outside reaches the user as one clear message, and the run can go on afterwards."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Endpoint, asks_for_rows
from stub_server import answer

from synalign_jax.cli import main

CONFIG = """
[run]
folder = "out"
[data]
source = "rotten_tomatoes"
few_shot = 12
test_rows = 12
ceiling_rows = 0
[llm]
base_url = "{address}"
model = "the-model"
max_attempts = 1
api_key_env = "FAULTS_KEY"
[explore]
rounds = 2
neighbors = 1
[reason]
preset = "sst2"
[generate]
form = "json"
rows = 12
[evaluate]
seeds = 2
"""
KEY = "sk-planted-key-0123456789"


class Faulty(Endpoint):
    """An endpoint that fails as `mode` says, until it is told to answer."""

    mode, first = "answer", ""

    def reply(self, body: dict) -> tuple[int, str, bytes]:
        if self.mode == "key":
            return 401, "application/json", b'{"error": {"message": "Incorrect API key provided"}}'
        if self.mode == "model":
            return 404, "application/json", b'{"error": {"message": "The model does not exist"}}'
        if self.mode == "html":
            return 200, "text/html", b"<html><body>Welcome to nginx</body></html>"
        broken = self.mode == "prose" or (self.mode == "some" and self.unlucky(body))
        content = "no JSON at all" if broken else json.dumps(answer(body))
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 5}
        value = {"model": "the-model", "choices": [choice], "usage": usage}
        return 200, "application/json", json.dumps(value).encode()

    def unlucky(self, body: dict) -> bool:
        """Whether it is the first prompt for rows, whenever and however often it is sent."""
        if not asks_for_rows(body):
            return False
        prompt = json.dumps(body["messages"][:3])  # an example, its answer, and what is asked
        self.first = self.first or prompt
        return prompt == self.first


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Faulty]:
    server = Faulty()
    yield server
    server.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, endpoint: Faulty) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "run.toml").write_text(CONFIG.format(address=endpoint.address))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNALIGN_CACHE", str(folder / "cache"))
        patch.setenv("FAULTS_KEY", KEY)
        yield folder


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("key", ["FAULTS_KEY", "401"]),
        ("model", ["the-model"]),
        ("html", ["text/html", "/v1", "base_url"]),
        ("prose", ["no usable attributes", "synalign ledger"]),
    ],
)
def test_an_endpoint_that_fails_is_told_from_the_others(
    place: Path, endpoint: Faulty, capsys: pytest.CaptureFixture[str], mode: str, words: list[str]
) -> None:
    endpoint.mode = mode
    assert main(["run", str(place / "run.toml")]) == 1
    said = capsys.readouterr()
    message = said.err.strip().splitlines()[-1]
    assert "synalign: " in said.err
    assert "Traceback" not in said.err
    assert "unexpected" not in said.err
    for word in words:
        assert word in said.err, message
    assert KEY not in said.out + said.err


def test_a_disk_that_is_full_stops_the_run_and_the_next_start_goes_on(
    place: Path, endpoint: Faulty, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.mode = "answer"
    # Dead letters of the faults above were final; a new folder asks again.
    config = (place / "run.toml").read_text().replace('"out"', '"full"')
    (place / "full.toml").write_text(config)
    (place / "full").mkdir()
    # The kernel itself says that the device is full.
    full = place / "full" / ".synthetic.parquet.part"
    full.symlink_to("/dev/full")
    assert main(["run", str(place / "full.toml")]) == 1
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert "Traceback" not in said
    assert not (place / "full" / "synthetic.parquet").exists()
    full.unlink(missing_ok=True)
    assert main(["run", str(place / "full.toml")]) == 0
    assert "explore          done before" in capsys.readouterr().err


def test_what_was_given_up_is_asked_for_again_after_a_retry(
    place: Path, endpoint: Faulty, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.mode = "some"
    (place / "some.toml").write_text((place / "run.toml").read_text().replace('"out"', '"some"'))
    record = place / "some" / "done" / "generate.json"
    assert main(["run", str(place / "some.toml")]) == 0
    failed = json.loads(record.read_text())["facts"]["failed_calls"]
    assert failed > 0
    endpoint.mode = "answer"
    assert main(["ledger", str(place / "some"), "--retry"]) == 0
    assert f"{failed} request(s) opened again" in capsys.readouterr().out
    assert main(["run", str(place / "some.toml")]) == 0
    said = capsys.readouterr().err
    assert "explore          done before" in said
    assert json.loads(record.read_text())["facts"]["failed_calls"] == 0


def test_the_key_is_in_no_file_of_the_run(place: Path) -> None:
    files = [path for path in place.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_server_that_is_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.format(address="http://127.0.0.1:9/v1").replace('"out"', '"nobody"')
    (place / "nobody.toml").write_text(config)
    assert main(["run", str(place / "nobody.toml")]) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:9" in said
    assert "Traceback" not in said


def test_a_key_that_is_not_set_is_noticed_before_anything_starts(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAULTS_KEY")
    (place / "early.toml").write_text(
        CONFIG.format(address="http://127.0.0.1:9/v1").replace('"out"', '"early"')
    )
    assert main(["run", str(place / "early.toml")]) == 1
    assert "the environment variable FAULTS_KEY is not set" in capsys.readouterr().err
    assert not (place / "early").exists()


def test_a_folder_that_cannot_be_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "file").write_text("not a folder")
    config = CONFIG.format(address="http://127.0.0.1:9/v1").replace('"out"', '"file/run"')
    (place / "unwritable.toml").write_text(config)
    assert main(["run", str(place / "unwritable.toml")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_two_runs_at_once_in_one_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (place / "full" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["run", str(place / "full.toml")]) == 1
    assert "another synalign is at work in this folder" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        main(["run", os.fspath(tmp_path / "none.toml"), "--debug"])


def test_a_report_of_a_folder_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "no run here" in capsys.readouterr().err
