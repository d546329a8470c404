"""The zoo: how servers behave, each behaviour one small function of a request and what was asked before.

A behaviour takes a `Visit` and returns a `Reply`. `good(visit)` is the answer of a server without quirks;
most are that with something changed. `SOUND` are those under which every request can be answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SCHEMA = {
    "type": "object",
    "properties": {
        "texts": {
            "type": "array",
            "items": {"type": "string", "minLength": 3, "maxLength": 60},
            "minItems": 2,
            "maxItems": 3,
        }
    },
    "required": ["texts"],
    "additionalProperties": False,
}


@dataclass
class State:
    """What a server remembers: when it began, the bodies it got, and what it likes."""

    began: float = field(default_factory=time.monotonic)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def age(self) -> float:
        return time.monotonic() - self.began


@dataclass
class Visit:
    """One request: its body and headers, how often its prompt was answered (200) before, and the state."""

    body: dict[str, Any]
    headers: dict[str, str]
    state: State
    times: int
    method: str = "POST"
    path: str = "/v1/chat/completions"


@dataclass
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    delay: float = 0.0


Behaviour = Callable[[Visit], Reply]
SOUND: dict[str, Behaviour] = {}


def sound(behaviour: Behaviour) -> Behaviour:
    """Every request gets its answer from such a server, if one asks as it wants to be asked."""
    SOUND[behaviour.__name__] = behaviour
    return behaviour


# -- a server without quirks ------------------------------------------------------------------------------


def schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The schema that a request states, in whatever form; the zoo's own where it states none."""
    given = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if given:
        return given
    text = body["messages"][-1]["content"]
    start = text.rfind("JSON schema: ")
    if start < 0:
        return SCHEMA
    return json.JSONDecoder().raw_decode(text, start + len("JSON schema: "))[0]


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """A JSON value that fits the schema of the request, made from its prompt alone."""
    digest = hashlib.sha256(prompt_of(body).encode()).hexdigest()
    properties = schema_of(body).get("properties", {})
    if "texts" in properties:
        tone = "dull and tiresome" if "negative" in json.dumps(body["messages"]) else "warm and funny"
        words = [digest[i : i + 6] for i in range(0, 48, 6)]
        seed = str(body.get("seed", ""))
        count = properties["texts"].get("maxItems", 3)
        return {
            "texts": [
                f"a {tone} tale of {words[i % 8]} and {seed}{words[i // 8 % 8]} {i}" for i in range(count)
            ]
        }
    if "attributes" in properties:
        names = ("subject", "pace", "voice")
        return {"attributes": [{"name": n, "question": f"what is the {n} of it"} for n in names]}
    # Letters alone: values that are numbers say nothing of texts, and are not used.
    said = digest.translate(str.maketrans("0123456789", "ghijklmnop"))
    return {name: f"{said[i : i + 5]} and {said[i + 5 : i + 9]}" for i, name in enumerate(properties)}


def prompt_of(body: dict[str, Any]) -> str:
    """What a request is about, without what is added where it is asked again or otherwise."""
    if "messages" not in body:
        return json.dumps(body)
    users = [message["content"] for message in body["messages"] if message["role"] == "user"]
    asked = users[0].removeprefix("You write.\n\n")
    return asked.split("\n\nAnswer with nothing but")[0].split("\n\nThat answer could")[0]


def content(visit: Visit) -> str:
    return json.dumps(answer(visit.body))


def completion(text: Any, *, finish: str = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion",
        "model": "beast",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": usage if usage is not None else {"prompt_tokens": 40, "completion_tokens": 20},
    }


def good(visit: Visit) -> Reply:
    return Reply(body=completion(content(visit)))


def refusal(message: str, status: int = 400, **fields: Any) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "invalid_request_error", **fields}})


def limit(visit: Visit) -> int:
    return visit.body.get("max_tokens") or visit.body.get("max_completion_tokens") or 10**6


# -- the server -------------------------------------------------------------------------------------------


class Cage:
    """One server on 127.0.0.1 that behaves as told; an async context manager that yields its address."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour, self.state = behaviour, State()
        self.paid: dict[str, int] = {}  # answers with status 200 by prompt

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/v1/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        posted = request.method == "POST"
        body = await request.json() if posted else {"messages": []}
        prompt = prompt_of(body) if posted else request.path
        visit = Visit(
            body,
            dict(request.headers),
            self.state,
            self.paid.get(prompt, 0),
            request.method,
            request.path,
        )
        reply = self.behaviour(visit)
        self.state.bodies.append(body)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        # What is fetched was paid for when it was ordered.
        if posted and reply.status in (200, 201, 202, 303):
            self.paid[prompt] = self.paid.get(prompt, 0) + 1
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {**reply.headers, "Content-Type": reply.kind}
        return web.Response(status=reply.status, body=data, headers=headers)
