"""A server of OpenAI's files and batches, whose lines are answered by a behaviour of the zoo.

What it charges for is counted in `paid`: status 200, by prompt and seed. `course` says how each
batch ends, `fault` may answer a call in its place, `after` is told of each call once it has had its effect
and before it is answered: there a test kills its client.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from zoo import Behaviour, Reply, State, Visit, good, prompt_of


@dataclass
class Course:
    """How a batch goes: `looks` before its end, the status that is, and how many lines are asked by then."""

    end: str = "completed"
    looks: int = 2
    asked: int = 10**9
    errors: list[dict[str, Any]] = field(default_factory=list)
    forgets: int = 0  # lines that were asked, and are in no file


class BatchServer:
    def __init__(
        self,
        behaviour: Behaviour = good,
        course: Callable[[int], Course] = lambda number: Course(),
        fault: Callable[[str, int], Reply | None] = lambda call, times: None,
        after: Callable[[str, int], None] = lambda call, times: None,
        *,
        keeps_metadata: bool = True,
        page: int = 100,
        lone: Behaviour | None = None,
    ) -> None:
        self.behaviour, self.course, self.fault, self.after = behaviour, course, fault, after
        self.keeps_metadata, self.page = keeps_metadata, page
        self.lone = lone or behaviour  # answers what is asked outside of batches
        self.state = State()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        self.asked_alone: list[dict[str, Any]] = []
        self.bodies: list[list[dict[str, Any]]] = []  # of each batch

    async def start(self) -> str:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/files", self._file)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._make)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def _faulty(self, call: str) -> web.Response | None:
        times = self.calls[call] = self.calls.get(call, 0) + 1
        reply = self.fault(call, times)
        return None if reply is None else _response(reply)

    def _done(self, call: str, value: Any) -> web.Response:
        self.after(call, self.calls[call])
        return _response(Reply(body=value))

    # -- calls ---------------------------------------------------------------------------------------------

    async def _file(self, request: web.Request) -> web.Response:
        form = {part.name: await part.read() async for part in await request.multipart()}  # type: ignore[union-attr]
        if (faulty := self._faulty("file")) is not None:
            return faulty
        assert form["purpose"] == b"batch"
        name = f"file-{len(self.files) + 1}"
        self.files[name] = form["file"]
        return self._done("file", {"id": name, "object": "file", "purpose": "batch"})

    async def _make(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (faulty := self._faulty("make")) is not None:
            return faulty
        assert body["completion_window"] == "24h"
        number = len(self.batches) + 1
        name, course = f"batch_{number}", self.course(number)
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert {line["url"] for line in lines} == {body["endpoint"]}
        self.bodies.append([line["body"] for line in lines])
        batch = {
            "id": name, "object": "batch", "endpoint": body["endpoint"], "status": "validating",
            "input_file_id": body["input_file_id"], "created_at": int(time.time()),
            "metadata": body.get("metadata") if self.keeps_metadata else None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "course": course, "looks": 0, "lines": lines,
        }  # fmt: skip
        self.batches[name] = batch
        if course.end != "failed":
            self._ask(batch, course, lines[: course.asked])
        return self._done("make", _shown(batch))

    def _ask(self, batch: dict[str, Any], course: Course, lines: list[dict[str, Any]]) -> None:
        good_ones, bad_ones = [], []
        for line in lines:
            assert "stream" not in line["body"]
            status, body = self._answer(line["body"], self.behaviour)
            result = {
                "id": f"r-{line['custom_id'][:8]}",
                "custom_id": line["custom_id"],
                "response": {"status_code": status, "request_id": "x", "body": body},
                "error": None,
            }
            (good_ones if status == 200 else bad_ones).append(json.dumps(result))
        if course.end != "completed":
            for line in batch["lines"][len(lines) :]:
                error = {"code": f"batch_{course.end}", "message": "This request could not be executed."}
                bad_ones.append(
                    json.dumps({"custom_id": line["custom_id"], "response": None, "error": error})
                )
        batch["counts"] = (len(good_ones), len(bad_ones))
        good_ones = good_ones[course.forgets :][::-1]  # in no order that is promised
        for field_, content in (("output_file_id", good_ones), ("error_file_id", bad_ones)):
            if content:
                batch[field_] = f"{batch['id']}-{field_}"
                self.files[batch[field_]] = ("\n".join(content) + "\n").encode()

    def _answer(self, body: dict[str, Any], behaviour: Behaviour) -> tuple[int, Any]:
        prompt = f"{prompt_of(body)} {body.get('seed')}"
        reply = behaviour(Visit(body, {}, self.state, self.paid.get(prompt, 0)))
        self.state.bodies.append(body)
        if reply.status == 200:
            self.paid[prompt] = self.paid.get(prompt, 0) + 1
        return reply.status, reply.body.decode() if isinstance(reply.body, bytes) else reply.body

    async def _look(self, request: web.Request) -> web.Response:
        if (faulty := self._faulty("look")) is not None:
            return faulty
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return _response(Reply(404, {"error": {"message": "No batch found"}}))
        course = batch["course"]
        batch["looks"] += 1
        batch["status"] = course.end if batch["looks"] > course.looks else "in_progress"
        if batch["looks"] > course.looks and course.end != "failed":
            completed, failed = batch["counts"]
            batch["request_counts"] |= {"completed": completed, "failed": failed}
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": course.errors}
        return self._done("look", _shown(batch))

    async def _list(self, request: web.Request) -> web.Response:
        if (faulty := self._faulty("list")) is not None:
            return faulty
        newest = [_shown(batch) for batch in reversed(self.batches.values())]
        after = request.query.get("after")
        if after:
            newest = newest[[batch["id"] for batch in newest].index(after) + 1 :]
        page = newest[: self.page]
        return self._done("list", {"data": page, "has_more": len(newest) > len(page)})

    async def _content(self, request: web.Request) -> web.Response:
        if (faulty := self._faulty("content")) is not None:
            return faulty
        self.after("content", self.calls["content"])
        return web.Response(body=self.files[request.match_info["id"]])

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked_alone.append(body)
        if (faulty := self._faulty("chat")) is not None:
            return faulty
        status, value = self._answer(body, self.lone)
        return _response(Reply(status, value))


def _shown(batch: dict[str, Any]) -> dict[str, Any]:
    hidden = {"course", "looks", "lines", "counts"}
    if batch["status"] in ("validating", "in_progress"):
        hidden |= {"output_file_id", "error_file_id"}
    return {name: value for name, value in batch.items() if name not in hidden}


def _response(reply: Reply) -> web.Response:
    data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    return web.Response(status=reply.status, body=data, headers={**reply.headers, "Content-Type": reply.kind})


@contextmanager
def served(server: BatchServer) -> Iterator[str]:
    """The server in a thread of its own: commands and child processes bring their own loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(100)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(100)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
