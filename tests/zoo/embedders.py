"""How embeddings endpoints behave, each behaviour one small function; `good` is one without quirks."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WINDOW = 0.5  # seconds of the rate limits


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 97), 1.0]


@dataclass
class Ask:
    """One request: its body, and what the server remembers of those before."""

    body: dict[str, Any]
    heard: list[dict[str, Any]]
    notes: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        return self.body["input"]


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


Behaviour = Callable[[Ask], Answer]
SOUND: dict[str, Behaviour] = {}


def sound(behaviour: Behaviour) -> Behaviour:
    """Every text gets its vector from such a server."""
    SOUND[behaviour.__name__] = behaviour
    return behaviour


def rows_of(ask: Ask) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(ask.texts)
    ]


def good(ask: Ask) -> Answer:
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return Answer(200, {"object": "list", "data": rows_of(ask), "model": "m", "usage": usage})


def refusal(message: str, status: int = 400, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": {"message": message}}, named)


@sound
def leaves_out_the_first_index(ask: Ask) -> Answer:
    """Gemini."""
    rows = rows_of(ask)
    del rows[0]["index"]
    return Answer(200, {"data": rows})


@sound
def leaves_out_every_index(ask: Ask) -> Answer:
    return Answer(200, {"data": [{"embedding": row["embedding"]} for row in rows_of(ask)]})


@sound
def answers_in_no_order(ask: Ask) -> Answer:
    return Answer(200, {"data": rows_of(ask)[::-1]})


@sound
def numbers_as_text(ask: Ask) -> Answer:
    return Answer(200, {"data": [row | {"index": str(row["index"])} for row in rows_of(ask)[::-1]]})


@sound
def gives_every_row_the_same_index(ask: Ask) -> Answer:
    """Servers that embed each text for itself: index 0 throughout."""
    return Answer(200, {"data": [row | {"index": 0} for row in rows_of(ask)]})


@sound
def counts_from_one(ask: Ask) -> Answer:
    return Answer(200, {"data": [row | {"index": row["index"] + 1} for row in rows_of(ask)]})


@sound
def sends_base64_whatever_is_asked(ask: Ask) -> Answer:
    def packed(values: list[float]) -> str:
        return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()

    return Answer(200, {"data": [row | {"embedding": packed(row["embedding"])} for row in rows_of(ask)]})


@sound
def sends_bare_vectors(ask: Ask) -> Answer:
    """TEI's own form."""
    return Answer(200, [vector(text) for text in ask.texts])


@sound
def sends_embeddings_by_ollamas_name(ask: Ask) -> Answer:
    return Answer(200, {"embeddings": [vector(text) for text in ask.texts]})


@sound
def wraps_each_vector_in_a_list(ask: Ask) -> Answer:
    """llama.cpp with pooling on: a list of one vector."""
    return Answer(200, {"data": [row | {"embedding": [row["embedding"]]} for row in rows_of(ask)]})


@sound
def wraps_the_answer(ask: Ask) -> Answer:
    return Answer(200, {"success": True, "result": {"data": rows_of(ask)}})


@sound
def knows_no_encoding_format(ask: Ask) -> Answer:
    if "encoding_format" in ask.body:
        return refusal("Unknown field: encoding_format")
    return good(ask)


@sound
def refuses_encoding_format_without_a_word(ask: Ask) -> Answer:
    return refusal("Bad Request") if "encoding_format" in ask.body else good(ask)


@sound
def takes_four_texts(ask: Ask) -> Answer:
    if len(ask.texts) > 4:
        return refusal("The batch size should not be larger than 4.")
    return good(ask)


@sound
def takes_four_texts_with_422(ask: Ask) -> Answer:
    """TEI."""
    if len(ask.texts) > 4:
        said = f"batch size {len(ask.texts)} > maximum allowed batch size 4"
        return Answer(422, {"error": said, "error_type": "Validation"})
    return good(ask)


@sound
def takes_sixty_characters_a_request(ask: Ask) -> Answer:
    if sum(map(len, ask.texts)) > 60:
        return refusal("Requested 81 tokens, max 60 tokens per request")
    return good(ask)


@sound
def finds_large_bodies_too_large(ask: Ask) -> Answer:
    return refusal("Request Entity Too Large", 413) if len(ask.texts) > 4 else good(ask)


@sound
def fails_on_large_batches(ask: Ask) -> Answer:
    """llama.cpp: an input is too large to process, as a 500."""
    if sum(map(len, ask.texts)) > 60:
        return refusal("input is too large to process. increase the physical batch size", 500)
    return good(ask)


@sound
def insists_on_a_kind_of_input(ask: Ask) -> Answer:
    """NVIDIA."""
    if "input_type" not in ask.body:
        return Answer(400, {"error": "'input_type' parameter is required for asymmetric models"})
    return good(ask)


@sound
def sends_values_as_gemini_does(ask: Ask) -> Answer:
    return Answer(200, {"embeddings": [{"values": vector(text)} for text in ask.texts]})


@sound
def sends_predictions_as_vertex_does(ask: Ask) -> Answer:
    rows = [{"embeddings": {"values": vector(text), "statistics": {"token_count": 3}}} for text in ask.texts]
    return Answer(200, {"predictions": rows})


@sound
def sends_floats_as_cohere_does(ask: Ask) -> Answer:
    return Answer(200, {"id": "1", "embeddings": {"float": [vector(text) for text in ask.texts]}})


def _limited(ask: Ask, answer: Callable[[], Answer]) -> Answer:
    now = time.monotonic()
    recent = [at for at in ask.notes.setdefault("asked", []) if at > now - WINDOW]
    ask.notes["asked"] = recent
    if len(recent) >= 3:
        return answer()
    recent.append(now)
    return good(ask)


@sound
def limits_in_seconds(ask: Ask) -> Answer:
    return _limited(ask, lambda: refusal("slow down", 429, Retry_After="0.5"))


@sound
def limits_in_milliseconds(ask: Ask) -> Answer:
    return _limited(ask, lambda: refusal("slow down", 429, retry_after_ms="500"))


@sound
def limits_by_date(ask: Ask) -> Answer:
    date = email.utils.formatdate(time.time() + 1, usegmt=True)
    return _limited(ask, lambda: refusal("slow down", 429, Retry_After=date))


@sound
def limits_in_words(ask: Ask) -> Answer:
    return _limited(ask, lambda: refusal("Rate limit reached. Please try again in 520ms.", 429))


@sound
def limits_in_geminis_body(ask: Ask) -> Answer:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.6s"}
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    return _limited(ask, lambda: Answer(429, [{"error": error}]))


@sound
def limits_without_a_word(ask: Ask) -> Answer:
    return _limited(ask, lambda: Answer(429, ""))


@sound
def loads_its_model(ask: Ask) -> Answer:
    if time.monotonic() - ask.notes.setdefault("began", time.monotonic()) < 0.3:
        return refusal("Model m is currently loading", 503)
    return good(ask)


def _once(broken: Callable[[Ask], Answer]) -> Behaviour:
    """Broken at first, good when asked again."""

    def behave(ask: Ask) -> Answer:
        return broken(ask) if len(ask.heard) < 2 else good(ask)

    return behave


def _rows(ask: Ask, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Answer:
    return Answer(200, {"data": [change(row) for row in rows_of(ask)]})


SOUND |= {
    "is_short_of_a_row_at_first": _once(lambda ask: Answer(200, {"data": rows_of(ask)[:-1]})),
    "has_a_row_too_many_at_first": _once(lambda ask: Answer(200, {"data": [*rows_of(ask), rows_of(ask)[0]]})),
    "sends_nan_at_first": _once(lambda ask: _rows(ask, lambda row: row | {"embedding": [float("nan")] * 3})),
    "sends_nothing_at_first": _once(lambda ask: _rows(ask, lambda row: row | {"embedding": None})),
    "sends_empty_vectors_at_first": _once(lambda ask: _rows(ask, lambda row: row | {"embedding": []})),
    "sends_null_numbers_at_first": _once(lambda ask: _rows(ask, lambda row: row | {"embedding": [None] * 3})),
    "sends_zeros_at_first": _once(lambda ask: _rows(ask, lambda row: row | {"embedding": [0.0] * 3})),
    "changes_the_width_at_first": _once(
        lambda ask: _rows(ask, lambda row: row | {"embedding": row["embedding"][: 2 + row["index"] % 2]})
    ),
    "says_error_with_200_at_first": _once(lambda ask: Answer(200, {"error": {"message": "oops"}})),
    "sends_html_at_first": _once(lambda ask: Answer(200, "<html>")),
}


@contextmanager
def endpoint(behave: Behaviour) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server of that behaviour: its address, and the bodies that it got."""
    heard: list[dict[str, Any]] = []
    notes: dict[str, Any] = {}
    turn = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                answer = behave(Ask(body, heard, notes))
                heard.append(body)
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            data = text.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            with contextlib.suppress(ConnectionError):  # a request may be given up meanwhile
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
