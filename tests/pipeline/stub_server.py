"""An OpenAI-compatible server whose answers depend on the request alone. Run: stub_server.py LOG [DELAY]

It prints its address, and appends a line to LOG for every request it has answered in full.
"""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

from aiohttp import web

WORDS = [
    "film", "story", "cast", "scene", "humour", "tension", "music", "camera", "pace", "ending",
    "hero", "villain", "dialogue", "plot", "mood", "light", "colour", "silence", "city", "train",
    "garden", "winter", "letter", "secret", "brother", "teacher", "doctor", "soldier", "river",
    "storm",
]  # fmt: skip


def answer(body: dict) -> dict:
    """A JSON answer that fits the request's schema, made from a hash of the request."""
    rng = random.Random(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest())
    schema = body["response_format"]["json_schema"]["schema"]
    prompt = body["messages"][-1]["content"]
    tone = "dull and tiresome" if "negative" in prompt else "warm and funny"
    if "texts" in schema["properties"]:
        count = schema["properties"]["texts"]["maxItems"]
        texts = [f"a {tone} {' '.join(rng.sample(WORDS, 6))}" for _ in range(count)]
        return {"texts": texts}
    if "rows" in schema["properties"]:
        rows = schema["properties"]["rows"]
        kinds = rows["items"]["properties"]

        def value(kind: dict) -> object:
            if kind["type"] == "array":
                return [
                    {"role": role, "content": value({"type": "string"})} for role in ("user", "assistant")
                ]
            return f"a {tone} {' '.join(rng.sample(WORDS, 6))}"

        made = [{name: value(kind) for name, kind in kinds.items()} for _ in range(rows["maxItems"])]
        return {"rows": made}
    return {name: f"{rng.choice(WORDS)} and {rng.choice(WORDS)}" for name in schema["properties"]}


async def serve(log: Path, delay: float) -> None:
    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(delay)
        content = json.dumps(answer(body))
        with log.open("a") as file:
            file.write(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() + "\n")
        return web.json_response(
            {
                "object": "chat.completion",
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": content},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70},
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


class Stub:
    """The stub server in a process of its own."""

    def __init__(self, folder: Path, delay: float = 0.0) -> None:
        self.log = folder / "requests.log"
        script = Path(__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.log), str(delay)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def requests(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
