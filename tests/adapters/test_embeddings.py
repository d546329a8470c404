"""Embeddings over HTTP: in order, whole, and tried again when the endpoint errs."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from synalign_adapters import embeddings
from synalign_adapters.embeddings import OpenAIEmbeddings

from synalign_jax.llm.protocol import Misconfigured, ServerError
from synalign_jax.text.protocol import Embedder


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 97), 1.0]


@contextmanager
def endpoint(behave: Callable[[list[str], int], tuple[int, object]]) -> Iterator[tuple[str, list]]:
    """A server whose answer to each request is `behave(texts, requests before)`: status and body."""
    heard: list = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = behave(body["input"], len(heard))
            heard.append(body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def good(texts: list[str], before: int) -> tuple[int, object]:
    rows = [{"index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
    return 200, {"data": rows[::-1]}  # the protocol promises no order, only indices


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_FIRST_WAIT", 0.001)


def test_vectors_come_in_the_order_of_the_texts() -> None:
    texts = [f"text {i}" * (i % 5) for i in range(100)]
    with endpoint(good) as (url, heard):
        embedder = OpenAIEmbeddings(url, model="m", api_key_env=None, batch=16)
        assert isinstance(embedder, Embedder)
        vectors = embedder.embed(texts)
        assert embedder.dimension == 3
        assert embedder.identity == f"{url}/v1 m"
        assert embedder.embed([]).shape == (0, 3)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.array([vector(text) for text in texts], np.float32))
    assert max(len(body["input"]) for body in heard) == 16


@pytest.mark.parametrize(
    "broken",
    [
        (500, {}),
        (429, {}),
        (200, {"data": []}),
        (200, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]}),
        (
            200,
            {
                "data": [
                    {"index": 0, "embedding": [1.0, "x", 2.0]},
                    {"index": 1, "embedding": [1.0, 2.0, 3.0]},
                ]
            },
        ),
        (200, {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}),
        (200, {"rows": []}),
    ],
)
def test_a_broken_answer_is_asked_for_again(broken: tuple[int, object]) -> None:
    with endpoint(lambda texts, before: broken if before < 2 else good(texts, before)) as (url, heard):
        vectors = OpenAIEmbeddings(url, model="m", api_key_env=None).embed(["a", "bb"])
    assert vectors.shape == (2, 3)
    assert len(heard) == 3


def test_what_stays_broken_is_an_error_after_a_bounded_number_of_tries() -> None:
    with endpoint(lambda texts, before: (500, {"error": "no"})) as (url, heard):
        with pytest.raises(ServerError, match="HTTP 500"):
            OpenAIEmbeddings(url, model="m", api_key_env=None).embed(["a"])
        assert len(heard) == 6


def test_a_text_that_is_refused_is_named_by_its_index() -> None:
    def behave(texts: list[str], before: int) -> tuple[int, object]:
        return (400, {"error": "too long"}) if "bad" in texts else good(texts, before)

    texts = [f"t{i}" for i in range(37)] + ["bad"] + ["more"] * 10
    with (
        endpoint(behave) as (url, _),
        pytest.raises(ValueError, match=r"text 37 cannot be embedded.*too long"),
    ):
        OpenAIEmbeddings(url, model="m", api_key_env=None, batch=20).embed(texts)


def test_a_wrong_key_is_not_tried_again() -> None:
    with endpoint(lambda texts, before: (401, {"error": "no"})) as (url, heard):
        with pytest.raises(Misconfigured):
            OpenAIEmbeddings(url, model="m", api_key_env=None).embed(["a"])
        assert len(heard) == 1
