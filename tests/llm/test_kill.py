"""SIGKILL at any moment of a run, and a restart: one answer for every key, none asked for again."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_endpoint import job
from stub_endpoint import Stub

from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.records import request_body, request_key

CONCURRENCY = 12
RUN = """
import asyncio, sys
from synalign_adapters.openai import OpenAIChat
from synalign_jax.llm.driver import Job, Limits, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message

async def main(url, path, count, concurrency):
    llm = OpenAIChat(url, api_key_env=None)
    jobs = (Job(ChatRequest((Message("user", str(i)),), "m"), i) for i in range(count))
    with Ledger(path) as ledger:
        async for outcome in stream(llm, jobs, ledger=ledger, limits=Limits(concurrency=concurrency)):
            print(outcome.job.tag, outcome.response.text, flush=True)
    await llm.aclose()
    print("end", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def _held(path: Path, keys: list[str]) -> set[str]:
    async def look() -> set[str]:
        with Ledger(path) as ledger:
            found = await asyncio.gather(*(ledger.lookup(key) for key in keys))
        return {key for key, known in zip(keys, found, strict=True) if known}

    return asyncio.run(look())


def kill_and_restart(folder: Path, *, kills: int, count: int, seed: int) -> None:
    path = folder / "ledger.sqlite"
    rng = random.Random(seed)
    with Stub(latency=0.02) as stub:
        keys = [request_key(request_body(stub.url, job(i).request)) for i in range(count)]
        held: dict[str, int] = {}  # key -> how often it had been asked when its answer was on record
        lost = done = 0
        while not done:
            command = [sys.executable, "-c", RUN, stub.url, str(path), str(count), str(CONCURRENCY)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            if kills:
                # Kill at a random moment after a random number of rows: also before the first.
                for _ in range(rng.choice([0, 1, rng.randrange(1, 2 * count // max(kills, 10) + 2)])):
                    if child.stdout.readline() in ("", "end\n"):
                        break
                time.sleep(rng.uniform(0, 0.05))
                os.kill(child.pid, signal.SIGKILL)
                kills -= 1
            used = [line.split()[0] for line in child.stdout if line != "end\n"]
            child.stdout.close()
            done = child.wait() == 0
            asked = stub.stats()["asked"]
            now = _held(path, keys)
            assert {keys[int(tag)] for tag in used} <= now  # an answer is durable before it is used
            assert set(held) <= now  # none is lost
            for key in now:
                held.setdefault(key, asked[key])
            with Ledger(path) as ledger:
                before, lost = lost, ledger.summary().lost
            assert lost - before <= CONCURRENCY
        asked = stub.stats()["asked"]
        assert set(held) == set(keys)
        assert held == {key: asked[key] for key in keys}  # what the ledger held was not asked for again
        assert sum(asked.values()) - count <= lost  # what was paid twice had been reported
    with Ledger(path) as ledger:
        assert (ledger.summary().answered, ledger.summary().dead) == (count, 0)


def test_a_run_killed_a_few_times_answers_every_key_once(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, kills=4, count=120, seed=int(time.time()))


@pytest.mark.slow
def test_a_run_killed_a_hundred_times_answers_every_key_once(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, kills=100, count=1500, seed=7)
