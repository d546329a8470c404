"""Endpoints of embeddings and chats that count what they are asked, and take their time."""

import json
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

WIDTH = 8


def vector(text: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=WIDTH).astype(np.float32)


class Served:
    """`embedded` and `asked` count texts and prompts; `latency` is the seconds of a call."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.embedded: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = served.embeddings(body) if self.path.endswith("embeddings") else served.chat(body)
                time.sleep(served.latency)
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # clients that are killed
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def embeddings(self, body: dict) -> dict:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        with self.lock:
            self.embedded.update(texts)
        data = [{"index": i, "embedding": vector(text).tolist()} for i, text in enumerate(texts)]
        return {"object": "list", "model": body["model"], "data": data}

    def chat(self, body: dict) -> dict:
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.asked[prompt] += 1
        message = {"role": "assistant", "content": f"about {prompt}"}
        return {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }

    def __enter__(self) -> "Served":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
