"""A planted key is nowhere after a run in which everything fails: no file, no log, no error."""

import json
import os
import subprocess
import sys
from pathlib import Path

from stub_endpoint import Stub

KEY = "sk-planted-7f3a9c"
HEADER = "team-planted-51d2e8"

RUN = """
import asyncio, logging, sys, warnings
logging.basicConfig(level=logging.DEBUG)
from synalign_adapters.openai import OpenAIChat
from synalign_adapters.embeddings import OpenAIEmbeddings
from synalign_jax.llm.driver import Job, Limits, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message

SCHEMA = {"type": "object", "properties": {"sentence": {"type": "string"}}, "required": ["sentence"]}

async def main(url, path, headers):
    llm = OpenAIChat(url, api_key_env="PLANTED", headers=headers)
    print(llm, vars(llm))
    jobs = (Job(ChatRequest((Message("user", str(i)),), "m", schema=SCHEMA), i) for i in range(40))
    limits = Limits(concurrency=8, attempt_timeout=0.5, first_wait=0.01, longest_wait=0.02, max_attempts=2)
    with Ledger(path) as ledger:
        async for outcome in stream(llm, jobs, ledger=ledger, limits=limits, on_progress=print):
            print(outcome)
        print(ledger.summary(), *ledger.dead_letters())

try:
    asyncio.run(main(sys.argv[1], sys.argv[2], {"X-Team": sys.argv[3]}), debug=True)
finally:
    try:
        OpenAIEmbeddings(sys.argv[1], model="m", api_key_env="PLANTED").embed(["a"])
    except Exception as error:
        print(repr(error), vars(error))
"""


def test_a_planted_key_is_nowhere(tmp_path: Path) -> None:
    for settings in (
        {"faults": 0.9, "key": KEY, "echo": True},
        {"key": "another", "echo": True},
    ):
        with Stub(**settings) as stub:
            address = stub.url.replace("http://", f"http://me:{KEY}@") + f"?api-key={KEY}"
            for url in (stub.url, address):
                ran = subprocess.run(
                    [sys.executable, "-X", "dev", "-c", RUN, url, str(tmp_path / "ledger.sqlite"), HEADER],
                    env={**os.environ, "PLANTED": KEY},
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                assert "OpenAIChat(" in ran.stdout
                assert ("the key in $PLANTED was refused" in ran.stderr) == (settings["key"] == "another")
                for text in (ran.stdout, ran.stderr):
                    assert "planted" not in text.replace("$PLANTED", ""), json.dumps(text)[:2000]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert KEY.encode() not in data
        assert HEADER.encode() not in data
