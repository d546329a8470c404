"""SIGKILL at every step of a batch, also between its making and the note of it: nothing is paid twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stub_batches import BatchServer, Course, served

from synalign_jax.llm.ledger import Ledger

COUNT = 30
RUN = """
import asyncio, sys
from synalign_adapters.batches import OpenAIBatches
from synalign_jax.llm.batches.limits import Batching
from synalign_jax.llm.driver import Job, Limits, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message

async def main(url, path, count):
    llm = OpenAIBatches(url, api_key_env=None, endpoint="the stub")
    jobs = (Job(ChatRequest((Message("user", f"Write about {i}."),), "m", seed=1), i) for i in range(count))
    quick = Batching(gather=0.05, first_look=0.01, longest_look=0.03, most_requests=20)
    with Ledger(path) as ledger:
        async for outcome in stream(llm, jobs, ledger=ledger, batching=quick):
            print(outcome.job.tag, outcome.response.text, flush=True)
    await llm.aclose()
    print("end", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class Client:
    """Starts the client again and again until it is done."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self.child: subprocess.Popen | None = None
        self.used: dict[str, str] = {}
        self.starts = 0

    def kill(self) -> None:
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGKILL)

    def run(self, url: str, after: float | None = None) -> bool:
        """One start, killed `after` so many seconds or by the server; whether it came to its end."""
        command = [sys.executable, "-c", RUN, url, str(self.path), str(COUNT)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.starts += 1
        if after is not None:
            time.sleep(after)
            self.kill()
        out, _ = self.child.communicate(timeout=60)
        for line in out.splitlines():
            if line != "end":
                tag, _, text = line.partition(" ")
                assert self.used.setdefault(tag, text) == text
        return self.child.returncode == 0


def killed_at(folder: Path, steps: list[tuple[str, int]], *, metadata: bool) -> None:
    """The server kills its client at these calls, each with how often it had been made by then."""
    client, left = Client(folder), list(steps)

    def after(name: str, count: int) -> None:
        if left and left[0][0] == name and count >= left[0][1]:
            left.pop(0)
            client.kill()

    server = BatchServer(course=lambda n: Course(looks=2), after=after, keeps_metadata=metadata)
    with served(server) as url:
        while not client.run(url):
            assert client.starts <= len(steps)
    assert client.starts == len(steps) + 1
    assert set(client.used) == {str(i) for i in range(COUNT)}
    assert set(server.paid.values()) == {1}, server.paid
    assert len(server.paid) == COUNT
    with Ledger(client.path) as ledger:
        summary = ledger.summary()
        assert not ledger.batches()
    assert (summary.answered, summary.dead, summary.batched, summary.in_flight) == (COUNT, 0, 0, 0)
    assert (summary.lost, summary.maybe_paid) == (0, 0)


def test_a_run_killed_at_every_step_of_a_batch_pays_nothing_twice(tmp_path: Path) -> None:
    killed_at(tmp_path, [("file", 1), ("make", 1), ("look", 1), ("content", 1)], metadata=True)


@pytest.mark.slow
@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("call", ["file", "make", "look", "content"])
def test_a_run_killed_twice_at_any_step_pays_nothing_twice(call: str, metadata: bool, tmp_path: Path) -> None:
    killed_at(tmp_path, [(call, 1), (call, 2)], metadata=metadata)


def kill_at_random(folder: Path, kills: int, seed: int) -> None:
    client, rng = Client(folder), random.Random(seed)
    server = BatchServer(course=lambda n: Course(looks=3))
    with served(server) as url:
        began = time.monotonic()
        assert Client(folder / "rehearsal").run(url)
        seconds = time.monotonic() - began
        server.paid.clear()
        done = False
        while not done:
            done = client.run(url, rng.uniform(0.3, 1.1) * seconds if kills > 0 else None)
            kills -= 1
    assert set(client.used) == {str(i) for i in range(COUNT)}
    assert set(server.paid.values()) == {1}
    with Ledger(client.path) as ledger:
        assert (ledger.summary().answered, ledger.summary().maybe_paid) == (COUNT, 0)


@pytest.mark.slow
def test_a_run_killed_sixty_times_pays_nothing_twice(tmp_path: Path) -> None:
    for seed in range(20):
        kill_at_random(tmp_path / str(seed), 3, seed)
