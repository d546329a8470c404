"""`run` and `run_async`: in a real notebook kernel, interrupted, cancelled, and what they return."""

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from stub_server import Stub

import synalign_jax as sa
from synalign_jax.api.result import MissingLibraryError
from synalign_jax.pipeline.folder import RunFolder, RunFolderError, open_finished

CELL = """
import synalign_jax as sa
result = sa.run({settings})
result
"""


class Kernel:
    """A Jupyter kernel, and what its cells put out."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(startup_timeout=300, kernel_name="python3")

    def start(self, code: str) -> str:
        # An older kernel drops what reaches it soon after a cell that failed or was interrupted.
        return self.client.execute(textwrap.dedent(code), stop_on_error=False)

    def finish(self, cell: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The reply to a cell, and all that it put out."""
        put_out = []
        while True:
            message = self.client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["content"].get("execution_state") == "idle":
                break
            put_out.append(message)
        while True:
            reply = self.client.get_shell_msg(timeout=300)
            if reply["parent_header"].get("msg_id") == cell:
                return reply["content"], put_out

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def kernel(cache: Path) -> Iterator[Kernel]:
    pytest.importorskip("ipykernel")
    running = Kernel()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def finished(
    kernel: Kernel, settings, stub: Stub, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The settings of a run that was interrupted in a notebook's cell and started again there; its output."""
    asked = settings(tmp_path_factory.mktemp("notebook") / "out")
    plain = json.dumps(asked, default=str)
    before = len(stub.requests())
    cell = kernel.start(CELL.format(settings=plain))
    while len(stub.requests()) == before:
        assert kernel.manager.is_alive()
        time.sleep(0.05)
    kernel.manager.interrupt_kernel()
    reply, _ = kernel.finish(cell)
    assert reply["status"] == "error"
    assert reply["ename"] == "KeyboardInterrupt", reply
    reply, put_out = kernel.finish(kernel.start(CELL.format(settings=plain)))
    assert reply["status"] == "ok", reply
    requests = Counter(stub.requests()[before:])
    assert max(requests.values()) <= 2
    assert sum(requests.values()) - len(requests) <= 4, "at most what was in flight is asked for again"
    return asked, put_out


@pytest.fixture(scope="module")
def result(finished: tuple[dict[str, Any], Any]) -> sa.RunResult:
    return sa.run(finished[0], progress=False)


def test_a_cell_shows_bars_in_place_and_the_result(finished: tuple[Any, list[dict[str, Any]]]) -> None:
    kinds = Counter(message["msg_type"] for message in finished[1])
    assert kinds["display_data"] == 1, "one output, brought up to date"
    assert kinds["update_display_data"] > 5
    assert kinds["stream"] == 0, "no lines on stderr, which notebooks paint red"
    pages = [
        message["content"]["data"]["text/html"]
        for message in finished[1]
        if message["msg_type"] in ("display_data", "update_display_data")
    ]
    assert any("<progress" in page for page in pages)
    assert "<progress" not in pages[-1]
    assert "generate" in pages[-1]
    (shown,) = (m["content"]["data"] for m in finished[1] if m["msg_type"] == "execute_result")
    assert "report.html" in shown["text/html"]
    assert "report.html" in shown["text/plain"]


def test_the_result_holds_what_the_folder_holds(finished: tuple[Any, Any], result: sa.RunResult) -> None:
    folder = Path(finished[0]["run"]["folder"])
    assert result.folder == folder
    assert result.aligned.equals(pq.read_table(folder / "aligned.parquet"))
    assert result.weighted.num_rows == 24
    assert sum(result.weighted["distribution"].to_pylist()) == pytest.approx(1)
    assert sum(result.weighted["weight"].to_pylist()) == pytest.approx(
        result.mixture["total_weight"], abs=1e-3
    )
    assert result.mixture["verdict"] in repr(result)
    assert result.alignment == json.loads((folder / "alignment.json").read_text(encoding="utf-8"))
    assert "mmd2" in result.evaluation
    assert result.report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert result.cost.requests >= 14
    assert result.cost.prompt_tokens == 50 * result.cost.requests
    assert result.cost.money is None
    assert result.cost.seconds > 0
    assert f"{result.weighted.num_rows:,} weighted" in repr(result)
    assert "macro-F1" in repr(result)


def test_the_folder_alone_is_enough_to_have_the_result_again(result: sa.RunResult) -> None:
    assert sa.run(str(result.folder), progress=False).aligned.equals(result.aligned)
    with pytest.raises(RunFolderError, match="no run here"):
        sa.run(result.folder.parent)


def test_rows_as_pandas_and_datasets_where_installed(
    result: sa.RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    made = result.to_dataset()
    assert isinstance(made, datasets.Dataset)
    assert made["text"][:] == result.aligned["text"].to_pylist()
    pytest.importorskip("pandas")
    assert result.to_pandas("weighted")["text"].tolist() == result.weighted["text"].to_pylist()
    with pytest.raises(ValueError, match="'aligned' or 'weighted'"):
        result.to_pandas("all")  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingLibraryError, match="pip install pandas"):
        result.to_pandas()
    with pytest.raises(MissingLibraryError, match="pip install datasets"):
        result.to_dataset()


def test_what_rows_and_warnings_hold_cannot_act_in_a_notebook(result: sa.RunResult) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    rows = result.weighted.to_pylist()  # of these none may have been worth using
    shown = sa.RunResult(result.folder, result.config)
    shown.__dict__["aligned"] = result.weighted.from_pylist(
        [{**row, "text": hostile, "label": hostile} for row in rows]
    )
    shown.__dict__["warnings"] = (hostile,)
    page = shown._repr_html_()
    assert hostile not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 2


def test_a_cancelled_run_keeps_what_is_done_and_goes_on(
    settings, stub: Stub, cache: Path, tmp_path: Path
) -> None:
    asked = settings(tmp_path / "out", run={"seed": 7})
    before = len(stub.requests())

    async def cancelled() -> int:
        ticks = 0
        job = asyncio.create_task(sa.run_async(asked, progress=False))
        while len(stub.requests()) == before:
            assert not job.done()
            ticks += 1
            await asyncio.sleep(0.02)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return ticks

    assert asyncio.run(cancelled()) > 5, "the caller's loop goes on meanwhile"
    with RunFolder(open_finished(tmp_path / "out")):
        pass  # the folder is free again
    result = asyncio.run(sa.run_async(asked, progress=False))
    assert result.weighted.num_rows == 24
    requests = Counter(stub.requests()[before:])
    assert sum(requests.values()) - len(requests) <= 4, "at most what was in flight is asked for again"


def test_a_folder_that_another_process_works_in_is_refused(settings, cache: Path, tmp_path: Path) -> None:
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True);"
        " sys.stdin.read()"
    )
    (tmp_path / "out").mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out" / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunFolderError, match=r"another synalign is at work .*set another \[run\] folder"):
            sa.run(settings(tmp_path / "out"), progress=False)
    finally:
        other.communicate()


def test_settings_that_cannot_be_used_are_named(settings, tmp_path: Path) -> None:
    good = settings(tmp_path / "out")
    for bad, words in (
        (good | {"generat": {}}, r"unknown section \[generat\]; did you mean 'generate'"),
        (settings(tmp_path, generate={"row": 5}), r"unknown setting 'row' in \[generate\]"),
        (settings(tmp_path, generate={"rows": "many"}), "setting 'generate.rows'"),
        (good | {"run": "out"}, "setting 'run'"),
        ({**good, 3: {}}, "3 is not the name of a section"),
        ({name: good[name] for name in ("run", "data")}, "'llm' is missing"),
        (tmp_path / "none.toml", "no such file"),
        (17, "a int; give the path"),
    ):
        with pytest.raises(sa.ConfigError, match=words):
            sa.run(bad, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_config_made_in_python_is_checked_too(settings, tmp_path: Path) -> None:
    from synalign_jax.pipeline.config import Data, Llm, Run

    llm = Llm(model="m", base_url="http://127.0.0.1:9/v1", temperature=17.0)
    bad = sa.Config(run=Run(folder=str(tmp_path / "out")), data=Data(source="rotten_tomatoes"), llm=llm)
    with pytest.raises(sa.ConfigError, match=r"llm\.temperature"):
        sa.run(bad, progress=False)
