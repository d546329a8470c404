"""A chat and embeddings endpoint in a process of its own: real sentences as answers, hashed words as vectors.

Run: _stub.py SENTENCES.txt  It prints its address.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import sys
import zlib
from pathlib import Path

import numpy as np
from aiohttp import web

_WIDTH = 384


class Vectors:
    """A vector for a text: the sum of one fixed random vector for each of its words, of length 1."""

    def __init__(self) -> None:
        self._words = np.random.default_rng(0).normal(size=(8_192, _WIDTH)).astype(np.float32)

    def __call__(self, text: str) -> np.ndarray:
        rows = [zlib.crc32(word.encode()) % len(self._words) for word in text.lower().split()]
        total = self._words[rows or [0]].sum(axis=0)
        return total / np.linalg.norm(total)


def _answer(body: dict, sentences: list[str]) -> dict:
    rng = random.Random(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest())
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    if "texts" in fields:
        count = fields["texts"].get("maxItems", 5)
        # Two halves of two sentences: so many different ones that a million rows are hardly ever the same.
        halves = [rng.choice(sentences).split() for _ in range(2 * count)]
        pairs = zip(halves[::2], halves[1::2], strict=True)
        return {"texts": [" ".join(a[: len(a) // 2 + 1] + b[len(b) // 2 :]) for a, b in pairs]}
    return {name: " ".join(rng.choice(sentences).split()[:5]) for name in fields}


async def serve(sentences: list[str]) -> None:
    vectors = Vectors()

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        message = {"role": "assistant", "content": json.dumps(_answer(body, sentences))}
        return web.json_response(
            {
                "object": "chat.completion",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 400, "completion_tokens": 300, "total_tokens": 700},
            }
        )

    async def embeddings(request: web.Request) -> web.Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = []
        for i, text in enumerate(texts):
            vector = vectors(text)
            coded = base64.b64encode(vector.tobytes()).decode()
            plain = body.get("encoding_format") != "base64"
            data.append({"index": i, "embedding": vector.tolist() if plain else coded})
        usage = {"prompt_tokens": 20 * len(texts), "total_tokens": 20 * len(texts)}
        return web.json_response({"object": "list", "model": body["model"], "data": data, "usage": usage})

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/embeddings", embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
