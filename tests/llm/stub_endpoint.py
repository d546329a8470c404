"""An OpenAI-compatible server that answers from a recipe, misbehaves on demand, and counts what it was asked.

`python tests/llm/stub_endpoint.py '{"latency": 0.05, "faults": 0.3}'` prints its port and serves until its
standard input ends; `Stub(...)` does the same from a test. GET /stats returns the counts.
"""

import asyncio
import json
import random
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

FAULTS = (
    "429 with Retry-After",
    "429",
    "500",
    "503",
    "reset",
    "hang",
    "half a JSON",
    "HTML",
    "empty",
    "wrong schema",
    "wrong length",
)


class Behaviour:
    """latency: seconds an answer takes. faults: share of broken answers. only: the one fault to use.
    slots: answers made at the same time, further ones wait. capacity: more at a time get a 429.
    key: the bearer token wanted. model: the only model known. schema: whether JSON schemas are known.
    """

    def __init__(self, settings: dict) -> None:
        self.latency = settings.get("latency", 0.0)
        self.faults = settings.get("faults", 0.0)
        self.only = settings.get("only")
        self.retry_after = settings.get("retry_after", 1)
        self.slots = asyncio.Semaphore(settings.get("slots", 1_000_000))
        self.capacity = settings.get("capacity", 1_000_000)
        self.key = settings.get("key")
        self.model = settings.get("model")
        self.schema = settings.get("schema", True)
        self.text = settings.get("text")
        self.echo = settings.get("echo", False)
        self.random = random.Random(settings.get("seed", 0))
        self.asked: Counter[str] = Counter()
        self.usable: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.busy = self.most_busy = 0

    def stats(self) -> dict:
        return {
            "asked": self.asked,
            "usable": self.usable,
            "statuses": self.statuses,
            "most_busy": self.most_busy,
        }


class Connection(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.data = b""
        self.tasks: set[asyncio.Task] = set()

    @property
    def secrets(self) -> str:
        """What a careless server repeats of a request's headers."""
        return (
            f"{self.headers.get('authorization')} {self.headers.get('x-team')}" if self.behaviour.echo else ""
        )

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, separator, body = self.data.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        if len(body) < int(headers.get("content-length", 0)):
            return
        self.data = b""
        task = asyncio.ensure_future(self.answer(lines[0], headers, body))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def send(
        self, status: int, body: bytes, *, kind: str = "application/json", headers: str = "", length=None
    ):
        self.behaviour.statuses[str(status)] += 1
        if self.transport.is_closing():
            return
        self.transport.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{headers}"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n".encode("latin-1")
            + body
        )

    async def answer(self, first: str, headers: dict[str, str], body: bytes) -> None:
        b = self.behaviour
        if first.startswith("GET /stats"):
            self.send(200, json.dumps(b.stats()).encode())
            return
        self.headers = headers
        if not first.startswith("POST /v1/chat/completions"):
            self.send(404, b'{"error": {"message": "no such path"}}')
            return
        request = json.loads(body)
        key = headers.get("idempotency-key", "").rpartition("-")[0] or json.dumps(request.get("messages"))
        b.asked[key] += 1
        b.busy += 1
        b.most_busy = max(b.most_busy, b.busy)
        try:
            if b.key and headers.get("authorization") != f"Bearer {b.key}":
                said = f"Incorrect API key provided: {self.secrets}"
                self.send(401, json.dumps({"error": {"message": said}}).encode())
            elif b.model and request["model"] != b.model:
                self.send(404, b'{"error": {"message": "no such model", "code": "model_not_found"}}')
            elif not b.schema and "response_format" in request:
                self.send(400, b'{"error": {"message": "response_format is not supported"}}')
            elif b.busy > b.capacity:
                self.send(429, b'{"error": {"message": "too many"}}')
            else:
                async with b.slots:
                    if b.latency:
                        await asyncio.sleep(b.latency * b.random.uniform(0.5, 1.5))
                if b.random.random() < b.faults:
                    await self.fault(b.only or b.random.choice(FAULTS), request)
                else:
                    b.usable[key] += 1
                    self.send(200, completion(request, b.text or self.secrets or None))
        finally:
            b.busy -= 1

    async def fault(self, fault: str, request: dict) -> None:
        whole = completion(request, None)
        error = json.dumps({"error": {"message": f"{fault} {self.secrets}"}}).encode()
        if fault == "429 with Retry-After":
            self.send(429, error, headers=f"Retry-After: {self.behaviour.retry_after}\r\n")
        elif fault in ("429", "500", "503"):
            self.send(int(fault), error)
        elif fault == "reset":
            self.transport.abort()
        elif fault == "hang":
            self.behaviour.busy -= 1  # it has forgotten the request
            try:
                await asyncio.sleep(3600)
            finally:
                self.behaviour.busy += 1
        elif fault == "half a JSON":
            self.send(200, whole[: len(whole) // 2])
        elif fault == "HTML":
            self.send(200, f"<html><body>Bad gateway {self.secrets}</body></html>".encode(), kind="text/html")
        elif fault == "empty":
            self.send(200, b"")
        elif fault == "wrong schema":
            self.send(200, completion(request, '{"sentence": {"of": 7}}'))
        elif fault == "wrong length":
            self.send(200, whole[: len(whole) // 2], length=len(whole))  # a whole one would be read
            self.transport.close()


def completion(request: dict, text: str | None) -> bytes:
    """The answer to a prompt: a JSON object that repeats its last message."""
    prompt = request["messages"][-1]["content"]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text or json.dumps({"sentence": f"about {prompt}"})},
        "finish_reason": "stop",
    }
    value = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [choice | {"index": i} for i in range(request.get("n", 1))],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return json.dumps(value).encode()


async def serve(settings: dict) -> None:
    loop = asyncio.get_running_loop()
    behaviour = Behaviour(settings)
    server = await loop.create_server(lambda: Connection(behaviour), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class Stub:
    """The server as a child process; a context manager."""

    def __init__(self, **settings) -> None:
        self.settings = settings

    def __enter__(self) -> "Stub":
        self.child = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__)), json.dumps(self.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.url = f"http://127.0.0.1:{int(self.child.stdout.readline())}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()

    def stats(self) -> dict:
        with urllib.request.urlopen(self.url.replace("/v1", "/stats")) as answer:
            return json.load(answer)


if __name__ == "__main__":
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio
    loops.run(serve(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
