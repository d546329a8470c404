"""The stub server of tests/pipeline serves here too."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent.parent / "pipeline"))
from stub_server import Stub

Settings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Vectors and compiled programs, computed once for all tests of the room."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNALIGN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    server = Stub(tmp_path_factory.mktemp("stub"), delay=0.3)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def settings(stub: Stub) -> Settings:
    """Settings of a small run in a folder; keyword arguments add settings, as `generate={"rows": 12}`."""

    def make(folder: Path, **more: dict[str, Any]) -> dict[str, Any]:
        plain: dict[str, dict[str, Any]] = {
            "run": {"folder": folder},
            "data": {"source": "rotten_tomatoes", "few_shot": 24, "test_rows": 40, "ceiling_rows": 20},
            "llm": {"base_url": stub.address, "model": "stub", "concurrency": 4},
            "explore": {"rounds": 3, "neighbors": 1},
            "reason": {"preset": "sst2"},
            "generate": {"rows": 24, "rows_per_call": 3, "form": "json"},
            "evaluate": {"seeds": 2},
        }
        for section, values in more.items():
            plain[section] = plain.get(section, {}) | values
        return plain

    return make
