"""OpenAI's Batch API, which other hosts copy: requests in a file, answered within a day at half the price."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import aiohttp

from synalign_jax.llm.protocol import (
    BatchResult,
    BatchStatus,
    ChatRequest,
    ChatResponse,
    LLMError,
    Misconfigured,
    RateLimited,
    Refused,
    ServerError,
    Unsupported,
)

from ._bodies import Fault, fault_in, parsed
from ._faults import Unexplained
from ._http import Called, Reply
from ._options.learnt import Options
from ._options.searched import optional
from .openai import OpenAIChat

State = Literal["waiting", "completed", "failed", "expired", "cancelled"]
_STATES: dict[str, State] = {
    "completed": "completed", "complete": "completed", "succeeded": "completed", "success": "completed",
    "ended": "completed", "done": "completed", "failed": "failed", "error": "failed",
    "expired": "expired", "timeout_exceeded": "expired", "cancelled": "cancelled", "canceled": "cancelled",
}  # fmt: skip
_MARK = "synalign"  # the name of the mark in a batch's metadata
_WINDOW = "24h"
_NO_BATCHES = (404, 405, 501)
_PAGES = 100  # of a list of batches, at most
_FILING = 120.0  # seconds after its end within which a batch may lack its files
_CLOCKS = 86_400.0  # seconds by which two clocks may differ
_CROWDED = ("token_limit_exceeded", "enqueued token", "limit reached", "too many batches", "rate limit")
# Azure's files take a while until a batch may be made of them.
_NOT_READY = re.compile(
    r"file\b[^.]{0,60}(?:not (?:yet )?(?:ready|processed|available)|still|pending|being processed)",
    re.IGNORECASE,
)
_UNASKED = ("batch_expired", "batch_cancelled", "batch_canceled", "expired", "cancelled")


class OpenAIBatches(OpenAIChat):
    """A chat endpoint that takes batches too (`/files` and `/batches` under its `base_url`); a BatchLLM.

    Arguments and errors are those of OpenAIChat.
    """

    _metadata = _window = True  # whether these are sent

    def route(self, request: ChatRequest) -> str:
        last = self._http.base.rpartition("/")[2]  # Zhipu's base_url ends in v4, and so do its routes
        version = last if re.fullmatch(r"v\d+", last) else "v1"
        return f"/{version}/completions" if request.continues else f"/{version}/chat/completions"

    def batch_line(self, key: str, request: ChatRequest, lessons: Mapping[str, Any]) -> bytes:
        line = {
            "custom_id": key,
            "method": "POST",
            "url": self.route(request),
            "body": _body(request, Options.from_json(lessons)),
        }
        return json.dumps(line).encode("ascii") + b"\n"

    async def put_file(self, name: str, lines: Iterable[bytes]) -> str:
        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", b"".join(lines), filename=name, content_type="application/jsonl")
            return data

        made = await self._made(lambda: self._http.call("POST", "files", data=form()), "/files")
        return made["id"]

    async def make_batch(self, file: str, route: str, mark: str) -> str:
        while True:
            body: dict[str, Any] = {"input_file_id": file, "endpoint": route}
            if self._window:
                body["completion_window"] = _WINDOW
            if self._metadata:
                body["metadata"] = {_MARK: mark}
            try:
                made = await self._made(
                    lambda body=body: self._http.call("POST", "batches", data=body), "/batches"
                )
                return made["id"]
            except Misconfigured as error:
                said = error.raw or ""
                if self._metadata and "metadata" in said:
                    self._metadata = False
                elif self._window and "completion_window" in said:
                    self._window = False
                else:
                    raise

    async def find_batch(self, file: str, mark: str, since: float) -> str | None:
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            called = await self._http.call("GET", "batches", params={"limit": "100", **after})
            if called.status in _NO_BATCHES:
                raise Unsupported(f"{self.endpoint}: batches are not listed (HTTP {called.status})")
            value = parsed(called.text) if called.status < 300 else None
            page = {"data": value} if isinstance(value, list) else self._object(called)
            found = [item for item in page.get("data") or [] if isinstance(item, dict)]
            for item in found:
                metadata = item.get("metadata")
                marked = isinstance(metadata, dict) and metadata.get(_MARK) == mark
                if marked or (file and item.get("input_file_id") == file):
                    return str(item["id"])
            made = [item["created_at"] for item in found if isinstance(item.get("created_at"), int | float)]
            if not page.get("has_more") or not found or (made and max(made) < since - _CLOCKS):
                break
            after = {"after": str(page.get("last_id") or found[-1].get("id"))}
        return None

    async def look(self, batch: str) -> BatchStatus:
        called = await self._http.call("GET", f"batches/{quote(batch, safe='')}")
        if called.status == 404:
            raise Misconfigured(
                f"{self.endpoint} knows no batch {batch} (was the key or base_url changed since?);"
                " to ask for its requests anew: synalign ledger RUN --forget-batches"
            )
        value = self._object(called)
        word = str(value.get("status") or "")
        state = _STATES.get(word.lower().removeprefix("job_state_").removeprefix("batch_state_"), "waiting")
        counts = value.get("request_counts") or {}
        total, done, failed = (
            _count(counts, *names)
            for names in (("total",), ("completed", "succeeded"), ("failed", "errored"))
        )
        files = tuple(str(value[n]) for n in ("output_file_id", "error_file_id") if value.get(n))
        error, at = self._why_failed(value) if state == "failed" else (None, None)
        if state == "completed" and not files and time.time() - _count(value, "completed_at") < _FILING:
            raise ServerError(f"{self.endpoint}: the batch {batch} is {word}, and names no file yet")
        return BatchStatus(state, word, total, done, failed, files, error, at)

    async def results(self, file: str) -> AsyncGenerator[BatchResult]:
        async with contextlib.aclosing(self._http.lines(f"files/{quote(file, safe='')}/content")) as lines:
            async for line in lines:
                try:
                    value = json.loads(line, strict=False) if line.strip() else None
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict) and isinstance(value.get("custom_id"), str):
                    yield BatchResult(value["custom_id"], value, not _is_unasked(value))

    def read_result(
        self, result: BatchResult, request: ChatRequest, lessons: Mapping[str, Any]
    ) -> ChatResponse:
        called = _called(result.value)
        sent = Options.from_json(lessons)
        try:
            reply = Reply(self._http.value_of(called, request.model), False, None)
        except LLMError as error:
            return self.failed(error, request, sent, functools.partial(_body, request))
        self._known.taken(request.model).update(optional(_body(request, sent)))
        return self.answered(reply, request, sent)

    async def explain(self, error: LLMError, request: ChatRequest, lessons: Mapping[str, Any]) -> LLMError:
        if not isinstance(error, Unexplained):
            return error
        put = functools.partial(_body, request)
        return await self._found_out(request, Options.from_json(lessons), put, ("absent", 0), error)

    # -- the endpoint's own words --------------------------------------------------------------------------

    async def _made(self, call: Callable[[], Awaitable[Called]], what: str) -> Mapping[str, Any]:
        """What a POST made; a refusal is one of batches as such, unless it is of their size or number."""
        called = await call()
        if called.status in _NO_BATCHES:
            raise Misconfigured(
                f"{self.endpoint} has no batch API (HTTP {called.status} for {what}); set batch = false, or"
                " name an endpoint that offers it",
                raw=self.redact(called.text),
            )
        if called.status in (400, 409, 422) and _NOT_READY.search(called.text):
            raise ServerError(f"{self.endpoint}: {what}: {self.redact(called.text[:300])}", raw="")
        value = self._object(called)
        value = value["job"] if isinstance(value.get("job"), dict) else value  # Together
        if not isinstance(value.get("id"), str):
            raise Misconfigured(
                f"{self.endpoint} has no batch API: its answer to {what} names no id; set batch = false",
                raw=self.redact(called.text[:2000]),
            )
        return value

    def _object(self, called: Called) -> Mapping[str, Any]:
        """The JSON object of a call that succeeded; raises what it stands for else."""
        value = None
        if called.status < 300:
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(called.text, strict=False)
            if isinstance(value, dict):
                return value
            raise ServerError(f"{self.endpoint}: HTTP {called.status}, but not the JSON of a batch", raw="")
        error = self._http.refusal(called)
        if isinstance(error, Refused) and error.why != "too_long":
            crowded = any(word in called.text.lower() for word in _CROWDED)
            kind = RateLimited if crowded else Misconfigured
            raise kind(f"{error} (the batch API; batch = false does without it)", raw=error.raw)
        raise error

    def _why_failed(self, value: Mapping[str, Any]) -> tuple[LLMError, int | None]:
        """Why a batch failed, and the place of the request that is to blame, if it is one."""
        errors = value.get("errors")
        errors = errors.get("data") if isinstance(errors, dict) else errors
        first = next((e for e in errors or () if isinstance(e, dict)), None) if errors else None
        said = json.dumps(first or value.get("error") or errors or "no reason given")
        name = f"{self.endpoint}: the batch {value.get('id')} failed"
        if any(word in said.lower() for word in _CROWDED):
            return RateLimited(f"{name}: {_said(first, said)}", raw=self.redact(said)), None
        error = self._http.refusal(Called(400, json.dumps({"error": first or {"message": said}}), {}))
        line = first.get("line") if first else None
        one = isinstance(error, Refused) and isinstance(line, int) and line > 0 and len(errors or ()) == 1
        if isinstance(error, Refused) and not one:
            error = Misconfigured(str(error), raw=error.raw)
        error.args = (f"{name}: {self.redact(_said(first, said))}",)
        return error, (line or 0) - 1 if one else None


def _body(request: ChatRequest, options: Options) -> dict[str, Any]:
    body = options.body(request, "absent", 0)
    return {name: value for name, value in body.items() if name not in ("stream", "stream_options")}


def _called(value: Mapping[str, Any]) -> Called:
    """A result's line as the HTTP answer that it stands for."""
    response, error = value.get("response"), value.get("error")
    if isinstance(response, dict) and ("body" in response or not error):
        body = response.get("body", response)
        status = response.get("status_code")
        headers = response.get("headers")
        return Called(
            status if isinstance(status, int) else 200,
            body if isinstance(body, str) else json.dumps(body),
            headers if isinstance(headers, dict) else {},
        )
    fault = fault_in({"error": error}) or Fault("no answer and no error", "", None)
    return Called(fault.status or 500, json.dumps({"error": error or {"message": fault.text}}), {})


def _is_unasked(value: Mapping[str, Any]) -> bool:
    """Whether the batch ended before it came to this request."""
    error = value.get("error")
    return isinstance(error, dict) and str(error.get("code") or "").lower() in _UNASKED


def _said(first: Mapping[str, Any] | None, said: str) -> str:
    message = first.get("message") if first else None
    return message if isinstance(message, str) else said


def _count(value: Any, *names: str) -> int:
    found = (value.get(name) for name in names) if isinstance(value, Mapping) else ()
    return next((int(x) for x in found if isinstance(x, int | float) and not isinstance(x, bool)), 0)
