"""A run's folder knows its settings, those of earlier versions too."""

import json
from pathlib import Path

import pytest

from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.folder import RunFolder, RunFolderError


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
