"""A run's folder knows its settings, those of earlier versions too."""

import json
import signal
from pathlib import Path

import pytest

from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.folder import RunFolder, RunFolderError, _give_back


def test_a_run_from_before_a_setting_was_there_goes_on(tmp_path: Path) -> None:
    plain = {
        "run": {"folder": str(tmp_path)},
        "data": {"source": "rows.jsonl"},
        "llm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    }
    with RunFolder(parse_config(plain)):
        pass
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    del settings["data"]["fields"], settings["resample"]["formats"]
    path.write_text(json.dumps(settings))
    with RunFolder(parse_config(plain)):
        pass
    assert json.loads(path.read_text())["data"]["fields"] == {}
    changed = {**plain, "data": {"source": "rows.jsonl", "fields": {"question": "asks"}}}
    with pytest.raises(RunFolderError, match=r"data\.fields"), RunFolder(parse_config(changed)):
        pass


def test_a_ctrl_c_that_comes_while_garbage_is_collected_is_heard() -> None:
    class Interrupting:
        def __init__(self) -> None:
            self.itself = self  # found by the collector alone

        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    Interrupting()
    with pytest.raises(KeyboardInterrupt):
        _give_back()
    assert signal.getsignal(signal.SIGINT) is before
