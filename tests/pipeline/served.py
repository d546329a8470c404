"""An endpoint in this process whose answers a test decides on, and `synalign run` against it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from stub_server import answer

from synalign_jax.api.wiring import tools_for
from synalign_jax.cli import main
from synalign_jax.pipeline.config_file import load_config
from synalign_jax.pipeline.folder import RunFolder
from synalign_jax.pipeline.run import STAGES, run_stages

CONFIG = """
[run]
folder = "out"
[data]
source = "rotten_tomatoes"
few_shot = {few_shot}
test_rows = 12
ceiling_rows = 0
[llm]
base_url = "{address}"
model = "the-model"
max_attempts = 1
concurrency = 4
{llm}
[explore]
rounds = 2
neighbors = 1
[reason]
preset = "sst2"
[generate]
rows_per_call = 3
{more}
[evaluate]
seeds = 2
"""
Answer = Callable[[dict[str, Any]], Any]


def asks_for_rows(body: dict[str, Any]) -> bool:
    return "texts" in body["response_format"]["json_schema"]["schema"]["properties"]


class Endpoint:
    """An HTTP server in this process; `reply` decides what a request is answered with."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, kind, content = outer.reply(body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1"

    def reply(self, body: dict[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and content."""
        raise NotImplementedError

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Served(Endpoint):
    """`answer` gets the body of a request and returns the value, or the text, of the answer."""

    def __init__(self, answer: Answer = answer, usage: tuple[int, int] = (50, 20)) -> None:
        self.answer, self.usage, self.bodies = answer, usage, []
        super().__init__()

    def reply(self, body: dict[str, Any]) -> tuple[int, str, bytes]:
        self.bodies.append(body)
        value = self.answer(body)
        text = value if isinstance(value, str) else json.dumps(value)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
        said = {"model": body["model"], "choices": [choice], "usage": usage}
        return 200, "application/json", json.dumps(said).encode()


@contextmanager
def served(*arguments: Any) -> Iterator[Served]:
    endpoint = Served(*arguments)
    try:
        yield endpoint
    finally:
        endpoint.close()


def run(folder: Path, address: str, *, llm: str = "", more: str = "", few_shot: int = 12) -> int:
    """`synalign run` in a folder of its own: what it returned."""
    return main(["run", str(_placed(folder, address, llm, more, few_shot))])


def generate(folder: Path, address: str, *, llm: str = "", more: str = "", few_shot: int = 12) -> None:
    """The stages of a run until its rows are there."""
    config = load_config(_placed(folder, address, llm, more, few_shot))
    with RunFolder(config) as opened:
        last = [stage.name for stage in STAGES].index("generate")
        run_stages(opened, tools_for(config), STAGES[: last + 1])


def _placed(folder: Path, address: str, llm: str, more: str, few_shot: int) -> Path:
    folder.mkdir(exist_ok=True)
    usual = {"rows": "12", "of_the_kind": "false", "form": '"json"'}
    more = (
        "\n".join(f"{name} = {value}" for name, value in usual.items() if f"{name} = " not in more)
        + f"\n{more}"
    )
    path = folder / "run.toml"
    path.write_text(CONFIG.format(address=address, llm=llm, more=more, few_shot=few_shot))
    return path


def rows(folder: Path, name: str = "synthetic") -> list[dict[str, Any]]:
    return pq.read_table(folder / "out" / f"{name}.parquet").to_pylist()


def facts(folder: Path, stage: str = "generate") -> dict[str, Any]:
    return json.loads((folder / "out" / "done" / f"{stage}.json").read_text())["facts"]


def course(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "loop.json").read_text())
